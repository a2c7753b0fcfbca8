// SPDX-License-Identifier: MIT
// A recording through a language model, offline, on the core's own interface: what the reference's offline tool does,
// step by step.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "moshi/core.hpp"

namespace app {

struct Settings {
  std::string core;  ///< libmoshi-core.so; "": where core.hpp looks
  std::string model, mimi_model;
  std::string mimi_weights, lm_weights, tokenizer, config, lora;  ///< "": the model's own
  MoshiPrecision precision = MOSHI_PRECISION_AUTO;
  int threads = 0;

  int batch = 8;
  int64_t seed = 4242;  ///< of the first item; the others count on from there. -1: drawn
  bool greedy = false;
  /// Negative: what the model's configuration says.
  double temperature = -1, text_temperature = -1;
  int top_k = -1, text_top_k = -1;
  double cfg_coef = 1;
  std::vector<std::pair<std::string, std::string>> conditions, negative_conditions;
  double most_seconds_after_end = 60;  ///< a model that ends by itself is stopped after this
};

/// One of the batch: what it said in each frame.
struct Item {
  std::vector<int32_t> text;
  std::vector<uint16_t> codes;  ///< own_streams for each frame
  bool ended = false;           ///< it has said its end-of-stream token
};

class Models {
 public:
  /// Fetches what is missing, loads, and says why if that fails.
  static std::optional<Models> open(const Settings& settings);

  int sample_rate() const { return mimi_info_.sample_rate; }
  const MoshiLmInfo& info() const { return lm_info_; }
  /// The bytes to show for a text token; "": none, or the model has no tokenizer.
  std::string piece(int32_t token) const;
  bool has_tokenizer() const { return *lm_info_.tokenizer_file != '\0'; }

  /// Listens to `pcm` and answers, `settings.batch` times. `said` gets the text tokens of the first item as they come.
  /// The number of steps is in `*steps`.
  bool generate(const Settings& settings, std::span<const float> pcm, const std::function<void(int32_t)>& said,
                std::vector<Item>* items, int64_t* steps) const;
  /// The sound of an item.
  std::optional<std::vector<float>> decode(const Item& item) const;

 private:
  struct CloseEngine {
    const MoshiCoreApi* api;
    void operator()(MoshiEngine* engine) const { api->engine_close(engine); }
  };
  using Engine = std::unique_ptr<MoshiEngine, CloseEngine>;

  explicit Models(const MoshiCoreApi* api) : api_(api), lm_(nullptr, {api}), mimi_(nullptr, {api}) {}
  bool open_engine(const MoshiEngineConfig& config, Engine* engine);

  const MoshiCoreApi* api_;
  Engine lm_, mimi_;
  MoshiLmInfo lm_info_ = MOSHI_INIT(MoshiLmInfo);
  MoshiEngineInfo mimi_info_ = MOSHI_INIT(MoshiEngineInfo);
};

}  // namespace app
