// SPDX-License-Identifier: MIT
#include "errors.h"

namespace gstmoshi {
namespace {

struct Kind {
  GQuark domain;
  gint code;
};

Kind KindOf(MoshiStatus status, Activity activity) {
  if (activity == Activity::kLoadCore) return {GST_LIBRARY_ERROR, GST_LIBRARY_ERROR_INIT};
  switch (status) {
    case MOSHI_ERR_NOT_FOUND:
    case MOSHI_ERR_NOT_FETCHED:
    case MOSHI_ERR_NO_DEVICE:
      return {GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NOT_FOUND};
    case MOSHI_ERR_READ:
    case MOSHI_ERR_NETWORK:
      return {GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_OPEN_READ};
    case MOSHI_ERR_NOT_AUTHORIZED:
      return {GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NOT_AUTHORIZED};
    case MOSHI_ERR_FORMAT:
      return {GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_READ};
    case MOSHI_ERR_MISMATCH:
      return {GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_SETTINGS};
    case MOSHI_ERR_NO_MEMORY:
      return {GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_NO_SPACE_LEFT};
    case MOSHI_ERR_BUSY:
      return {GST_RESOURCE_ERROR, GST_RESOURCE_ERROR_BUSY};
    case MOSHI_ERR_INVALID_ARGUMENT:
    case MOSHI_ERR_NOT_SUPPORTED:
    case MOSHI_ERR_CONFLICT:
      return {GST_LIBRARY_ERROR, GST_LIBRARY_ERROR_SETTINGS};
    case MOSHI_ERR_DATA:
      return {GST_STREAM_ERROR, activity == Activity::kEncode ? GST_STREAM_ERROR_ENCODE : GST_STREAM_ERROR_DECODE};
    default:
      break;
  }
  if (activity == Activity::kEncode) return {GST_STREAM_ERROR, GST_STREAM_ERROR_ENCODE};
  if (activity == Activity::kDecode) return {GST_STREAM_ERROR, GST_STREAM_ERROR_DECODE};
  if (activity == Activity::kStep) return {GST_STREAM_ERROR, GST_STREAM_ERROR_FAILED};
  return {GST_LIBRARY_ERROR, GST_LIBRARY_ERROR_FAILED};
}

const char* NameOf(Activity activity) {
  switch (activity) {
    case Activity::kLoadCore:
      return "load-core";
    case Activity::kEncode:
      return "encode";
    case Activity::kDecode:
      return "decode";
    case Activity::kStep:
      return "step";
    default:
      return "load";
  }
}

}  // namespace

void PostCoreError(GstElement* element, const MoshiError& error, Activity activity, const std::string& context) {
  const Kind kind = KindOf(error.status, activity);
  GstStructure* details = gst_structure_new("moshi-core-error", "status", G_TYPE_INT, static_cast<gint>(error.status),
                                            "activity", G_TYPE_STRING, NameOf(activity), nullptr);
  const std::string debug = error.detail[0] != '\0' ? error.detail + ("; " + context) : context;
  gst_element_message_full_with_details(element, GST_MESSAGE_ERROR, kind.domain, kind.code, g_strdup(error.message),
                                        g_strdup(debug.c_str()), __FILE__, GST_FUNCTION, __LINE__, details);
}

}  // namespace gstmoshi
