// SPDX-License-Identifier: MIT
#include <set>
#include <utility>

#include "conversation.h"
#include "elements.h"
#include "reaper.h"

namespace server {
namespace {

/// Elements in READY hold their model; this pipeline never goes beyond.
class LoadedPipeline : public LoadedModel {
 public:
  LoadedPipeline(Model model, app::Object<GstElement> pipeline, Progress progress, Done done)
      : model_(std::move(model)),
        pipeline_(std::move(pipeline)),
        progress_(std::move(progress)),
        done_(std::move(done)) {
    const app::Object<GstBus> bus(gst_element_get_bus(pipeline_.get()));
    watch_ = gst_bus_add_watch(bus.get(), on_message, this);
    // A failure is told on the bus.
    gst_element_set_state(pipeline_.get(), GST_STATE_READY);
  }
  ~LoadedPipeline() override {
    if (watch_ != 0) g_source_remove(watch_);
    gst_element_set_state(pipeline_.get(), GST_STATE_NULL);
    // Conversations that were ended just now hold the model, too.
    reaper::wait();
  }

 private:
  static gboolean on_message(GstBus*, GstMessage* message, gpointer self);
  void on_progress(GstMessage* message);
  void finish(const ModelFacts* facts, std::string problem);
  ModelFacts facts() const;

  const Model model_;
  app::Object<GstElement> pipeline_;
  Progress progress_;
  Done done_;
  guint watch_ = 0;
  std::set<std::string> awaited_ = {kEncoder, kLm, kDecoder};
};

gboolean LoadedPipeline::on_message(GstBus*, GstMessage* message, gpointer user) {
  auto* self = static_cast<LoadedPipeline*>(user);
  if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_PROGRESS) self->on_progress(message);
  if (GST_MESSAGE_TYPE(message) == GST_MESSAGE_ERROR) {
    GError* raw = nullptr;
    gst_message_parse_error(message, &raw, nullptr);
    const app::Error error(raw);
    self->finish(nullptr, error->message);
  }
  return G_SOURCE_CONTINUE;
}

void LoadedPipeline::on_progress(GstMessage* message) {
  GstProgressType type;
  gchar *raw_code = nullptr, *raw_text = nullptr;
  gst_message_parse_progress(message, &type, &raw_code, &raw_text);
  const app::Text code(raw_code), text(raw_text);
  if (progress_ && text) progress_(text.get());
  if (type != GST_PROGRESS_TYPE_COMPLETE || awaited_.erase(GST_MESSAGE_SRC_NAME(message)) == 0 || !awaited_.empty())
    return;
  const ModelFacts known = facts();
  finish(&known, "");
}

// `done` may destroy this.
void LoadedPipeline::finish(const ModelFacts* facts, std::string problem) {
  if (const Done done = std::exchange(done_, nullptr)) done(facts, std::move(problem));
}

std::string base_name(const std::string& path) {
  return path.empty() ? path : app::Text(g_path_get_basename(path.c_str())).get();
}

ModelFacts LoadedPipeline::facts() const {
  const LmInfo info(pipeline_.get());
  ModelFacts facts;
  facts.lm_file = base_name(info.text("lm-file"));
  facts.type = info.text("model-type");
  facts.device = info.text("device");
  facts.speaks = info.number("own-codebooks") > 0;
  facts.writes = !info.text("tokenizer-file").empty();
  const bool folder = g_file_test(model_.model.c_str(), G_FILE_TEST_EXISTS);
  facts.name = folder ? base_name(model_.model) : model_.model;
  if (facts.name.empty()) facts.name = info.flag("embedded") ? "embedded" : facts.lm_file;
  gdouble temperature = 0, text_temperature = 0;
  gint top_k = 0, text_top_k = 0;
  gboolean draws = TRUE;
  g_object_get(element_of(pipeline_.get(), kLm).get(), "temperature", &temperature, "text-temperature",
               &text_temperature, "top-k", &top_k, "text-top-k", &text_top_k, "sampling", &draws, nullptr);
  facts.defaults.temperature = draws ? temperature : 0;
  facts.defaults.text_temperature = draws ? text_temperature : 0;
  facts.defaults.top_k = top_k;
  facts.defaults.text_top_k = text_top_k;
  return facts;
}

/// What cannot even be tried fails as a load does: later, by `done`.
class Refused : public LoadedModel {
 public:
  Refused(std::string problem, Done done) : problem_(std::move(problem)), done_(std::move(done)) {
    source_ = g_idle_add(tell, this);
  }
  ~Refused() override {
    if (source_ != 0) g_source_remove(source_);
  }

 private:
  static gboolean tell(gpointer user) {
    auto* self = static_cast<Refused*>(user);
    self->source_ = 0;
    const Done done = self->done_;
    done(nullptr, self->problem_);
    return G_SOURCE_REMOVE;
  }

  std::string problem_;
  Done done_;
  guint source_;
};

}  // namespace

std::unique_ptr<LoadedModel> LoadedModel::load(const Model& model, Progress progress, Done done) {
  std::string problem;
  const std::string description =
      std::string("mimienc name=") + kEncoder + " moshilm name=" + kLm + " mimidec name=" + kDecoder;
  app::Object<GstElement> pipeline = make_pipeline(description, &problem);
  if (pipeline && set_models(pipeline.get(), model, &problem))
    return std::make_unique<LoadedPipeline>(model, std::move(pipeline), std::move(progress), std::move(done));
  return std::make_unique<Refused>(std::move(problem), std::move(done));
}

}  // namespace server
