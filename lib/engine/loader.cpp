// SPDX-License-Identifier: MIT
#include "engine/loader.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <utility>

#include "common/log.h"
#include "engine/errors.h"
#include "engine/load_model.h"

namespace moshi::engine {
namespace {

/// Loading threads that are running, so that a process that exits in the middle of a load stops them before the
/// libraries under them are taken down.
struct Running {
  std::mutex mutex;
  std::condition_variable changed;
  int threads = 0;
  bool exiting = false;
};

Running& running() {
  static auto* state = new Running;
  return *state;
}

void stop_at_exit() {
  constexpr auto kPatience = std::chrono::seconds(3);
  Running& state = running();
  std::unique_lock lock(state.mutex);
  state.exiting = true;
  state.changed.wait_for(lock, kPatience, [&] { return state.threads == 0; });
}

bool exiting() {
  std::lock_guard lock(running().mutex);
  return running().exiting;
}

}  // namespace

void Loader::start(std::shared_ptr<Model> model) {
  static const bool registered = std::atexit(stop_at_exit) == 0;
  static_cast<void>(registered);
  std::lock_guard lock(running().mutex);
  std::thread(&Loader::thread, std::move(model)).detach();
  ++running().threads;
}

int Loader::threads() {
  std::lock_guard lock(running().mutex);
  return running().threads;
}

void Loader::thread(std::shared_ptr<Model> model) {
  pthread_setname_np(pthread_self(), "moshi-load");
  {
    Loader loader(*model);
    while (const auto load = loader.next()) loader.run(load);
  }
  // Perhaps the last reference: the model may be freed here.
  model.reset();
  Running& state = running();
  std::lock_guard lock(state.mutex);
  --state.threads;
  state.changed.notify_all();
}

std::shared_ptr<Load> Loader::next() {
  std::lock_guard lock(model_.mutex_);
  if (model_.queue_.empty()) {
    model_.loading_ = false;
    return nullptr;
  }
  auto load = model_.queue_.front();
  load->state = Load::State::kRunning;
  return load;
}

void Loader::run(const std::shared_ptr<Load>& load) {
  load_ = load.get();
  try {
    this->load(*load);
  } catch (...) {
    MoshiError error = MOSHI_INIT(MoshiError);
    const MoshiStatus status = handle_exception(&error);
    if (status != MOSHI_ERR_CANCELLED) log(MOSHI_LOG_ERROR, "engine", std::string("loading failed: ") + error.message);
    std::lock_guard lock(model_.mutex_);
    load->error = error;
    end(*load, Load::State::kFailed);
  }
  load_ = nullptr;
}

void Loader::load(Load& load) {
  const LoadContext context{model_, [this](double fraction, const char* stage) { report(fraction, stage); }};
  Loaded loaded = load.source.lm ? load_language_model(context, *load.source.lm)
                                 : load_codec(context, *load.source.mimi, load.works);
  publish(load, std::move(loaded));
  log(MOSHI_LOG_INFO, "engine", "loaded " + model_.facts().weight_file() + " (" + model_.kernels() + ")");
}

void Loader::publish(Load& load, Loaded loaded) {
  report(1.0, "ready");
  std::lock_guard lock(model_.mutex_);
  // Whoever came after it was abandoned has a load of the same work waiting behind this one.
  if (load.abandoned) throw Error(MOSHI_ERR_CANCELLED, "loading " + model_.facts().weight_file() + " was cancelled");
  // Engines have handed out pointers to it if there was a load before this one.
  if (model_.sha256_.empty()) model_.sha256_ = std::move(loaded.sha256);
  if (loaded.codec) model_.codecs_.push_back(std::move(loaded.codec));
  if (loaded.language_model) {
    model_.language_model_ = std::move(loaded.language_model);
    model_.silence_ = std::move(loaded.silence);
    model_.mimi_sha256_ = std::move(loaded.mimi_sha256);
  }
  for (const Work work : load.works) {
    const size_t i = index_of(work);
    model_.lane_store_[i] = loaded.lanes[i];
    model_.lanes_[i].store(&model_.lane_store_[i]);
  }
  end(load, Load::State::kReady);
}

void Loader::end(Load& load, Load::State state) {
  load.state = state;
  load.source = {};
  auto& queue = model_.queue_;
  queue.erase(std::remove_if(queue.begin(), queue.end(), [&](const auto& other) { return other.get() == &load; }),
              queue.end());
  model_.changed_.notify_all();
}

void Loader::report(double fraction, const char* stage) {
  std::unique_lock lock(model_.mutex_);
  const auto check = [&] {
    if (load_->abandoned || exiting()) {
      throw Error(MOSHI_ERR_CANCELLED, "loading " + model_.facts().weight_file() + " was cancelled");
    }
  };
  check();
  const std::vector<Engine*> listeners = model_.engines_;
  for (Engine* engine : listeners) {
    const auto& engines = model_.engines_;
    if (std::find(engines.begin(), engines.end(), engine) == engines.end()) continue;  // it has left meanwhile
    const bool waits = std::any_of(engine->loads.begin(), engine->loads.end(),
                                   [this](const auto& load) { return load.get() == load_; });
    if (!engine->progress || engine->cancelled || !waits) continue;
    const MoshiProgressFn progress = engine->progress;
    void* user = engine->progress_user;
    model_.reporting_to_ = engine;
    model_.reporter_ = std::this_thread::get_id();
    lock.unlock();
    progress(user, fraction, stage);
    lock.lock();
    model_.reporting_to_ = nullptr;
    model_.changed_.notify_all();
  }
  check();
}

}  // namespace moshi::engine
