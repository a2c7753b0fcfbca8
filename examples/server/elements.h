// SPDX-License-Identifier: MIT
// The elements that hold models, as a server's command line and a conversation's query want them.
#pragma once

#include <gst/gst.h>

#include <string>

#include "../app.h"
#include "settings.h"

namespace server {

/// Names of the elements in every pipeline here; there may be no decoder.
constexpr const char *kEncoder = "encoder", *kLm = "lm", *kDecoder = "decoder";

/// Null if there is none of that name.
inline app::Object<GstElement> element_of(GstElement* pipeline, const char* name) {
  return app::Object<GstElement>(gst_bin_get_by_name(GST_BIN(pipeline), name));
}

/// Makes a pipeline out of a description, as gst-launch-1.0 does. Null: `problem` is a sentence.
app::Object<GstElement> make_pipeline(const std::string& description, std::string* problem);

/// Sets the properties of those elements that the pipeline has. False: `problem` is a sentence.
bool set_models(GstElement* pipeline, const Model& model, std::string* problem);

/// Sets what is to be set. Temperatures and the like that are not stay the model's own.
void set_sampling(GstElement* pipeline, const Sampling& sampling);

/// A field of `model-info` of the language model; what is unknown is 0 or empty.
class LmInfo {
 public:
  explicit LmInfo(GstElement* pipeline);
  std::string text(const char* field) const;
  int number(const char* field) const;
  bool flag(const char* field) const;

 private:
  app::Structure info_;
};

}  // namespace server
