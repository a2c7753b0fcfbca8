// SPDX-License-Identifier: MIT
// Messages on the bus.
#include "support.h"

namespace check {
namespace {

/** Domain, code and both texts of an ERROR or WARNING. */
struct Parsed {
  explicit Parsed(GstMessage* message) {
    GError* raw_error = nullptr;
    char* raw_debug = nullptr;
    if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR)
      gst_message_parse_error(message, &raw_error, &raw_debug);
    else
      gst_message_parse_warning(message, &raw_error, &raw_debug);
    error.reset(raw_error);
    debug.reset(raw_debug);
  }
  std::string All() const { return std::string(error->message) + " | " + (debug ? debug.get() : ""); }
  Error error;
  Text debug;
};

}  // namespace

Message WaitMessage(GstBus* bus, int types) {
  return Message(gst_bus_timed_pop_filtered(bus, 15 * GST_SECOND, static_cast<GstMessageType>(types)));
}

Message PopMessage(GstBus* bus, int types) {
  return Message(gst_bus_pop_filtered(bus, static_cast<GstMessageType>(types)));
}

bool Says(const Message& message, const std::string& word) {
  return Parsed(message.get()).error->message != nullptr && Parsed(message.get()).All().find(word) != std::string::npos;
}

std::string TextOf(const Message& message) { return message != nullptr ? Parsed(message.get()).All() : "no message"; }

Message ExpectError(GstBus* bus, GQuark domain, int code) {
  Message message = WaitMessage(bus, GST_MESSAGE_ERROR);
  fail_unless(message != nullptr, "no error came");
  const Parsed parsed(message.get());
  fail_unless(parsed.error->domain == domain && parsed.error->code == code, "another error came: %s %d: %s",
              g_quark_to_string(parsed.error->domain), parsed.error->code, parsed.All().c_str());
  return message;
}

void ExpectNoTrouble(GstBus* bus) {
  Message message = PopMessage(bus, GST_MESSAGE_ERROR | GST_MESSAGE_WARNING);
  if (message != nullptr)
    fail_test("%s: %s", GST_MESSAGE_TYPE_NAME(message.get()), Parsed(message.get()).All().c_str());
}

void PlayToEnd(const Element& pipeline) {
  Bus bus = BusOf(pipeline);
  gst_element_set_state(pipeline.get(), GST_STATE_PLAYING);
  Message end = WaitMessage(bus.get(), GST_MESSAGE_EOS | GST_MESSAGE_ERROR);
  fail_unless(end != nullptr, "neither an error nor the end came");
  if (GST_MESSAGE_TYPE(end.get()) == GST_MESSAGE_ERROR) fail_test("%s", Parsed(end.get()).All().c_str());
}

}  // namespace check
