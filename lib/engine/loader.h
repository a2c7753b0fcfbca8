// SPDX-License-Identifier: MIT
// The thread that loads a model: it ends when no load of its model is left.
#pragma once

#include <memory>

#include "engine/model.h"

namespace moshi::engine {

class Loader {
 public:
  /// Starts the thread; it keeps the model alive while it loads. Call it with the model's lock held.
  static void start(std::shared_ptr<Model> model);
  /// Loading threads of the process that have not ended.
  static int threads();

 private:
  explicit Loader(Model& model) : model_(model) {}
  static void thread(std::shared_ptr<Model> model);

  std::shared_ptr<Load> next();
  void run(const std::shared_ptr<Load>& load);
  void load(Load& load);
  void publish(Load& load, Loaded loaded);
  void end(Load& load, Load::State state);
  /// Tells whoever listens; throws Error(CANCELLED) when nobody wants the load any more.
  void report(double fraction, const char* stage);

  Model& model_;
  Load* load_ = nullptr;  // the one that runs
};

}  // namespace moshi::engine
