// SPDX-License-Identifier: MIT
#include "engine/loader.h"

#include <pthread.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <thread>
#include <utility>

#include "common/log.h"
#include "engine/environment.h"
#include "engine/errors.h"
#include "engine/memory.h"
#include "engine/warm_up.h"

namespace moshi::engine {
namespace {

// Parts of the whole, as measured: the digest reads the file, packing reads and writes it.
constexpr double kHashed = 0.25;
constexpr double kPacked = 0.9;

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

Lane make_lane(const mimi::Config& config, mimi::Codec* codec, mimi::Direction direction) {
  Lane lane;
  lane.codec = codec;
  lane.direction = direction;
  lane.codebooks = config.quantizer.n_q;
  lane.cardinality = config.quantizer.bins;
  lane.frame_samples = config.frame_samples();
  lane.latent_width = config.seanet.dimension;
  const int steps = std::max(config.steps_per_frame(), 1);
  lane.frames_to_fill = (config.transformer.context + steps - 1) / steps;
  return lane;
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
    load_directions(*load);
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

void Loader::load_directions(Load& load) {
  const ModelFacts& facts = model_.facts();
  report(0.0, "reading");
  const auto& config = facts.config;
  const uint64_t needed = load.source->weight_bytes(load.directions) + ring_bytes(config);
  Reservation memory = reserve_memory(needed, "loading " + facts.mimi_file);

  std::string sha256 = model_.sha256();
  if (sha256.empty()) sha256 = load.source->sha256();
  report(kHashed, "packing");
  const std::function<void(double)> progress = [this](double fraction) {
    report(kHashed + (kPacked - kHashed) * std::clamp(fraction, 0.0, 1.0), "packing");
  };
  auto codec = environment().make_codec({config, load.source->tensors(), load.directions, model_.backend(),
                                         model_.device(), model_.executor().pool(), progress});
  memory.release();

  std::array<Lane, 2> lanes;
  double fraction = kPacked;
  for (const mimi::Direction direction : load.directions) {
    report(fraction, "warming up");
    fraction += (1.0 - kPacked) / 2;
    Lane& lane = lanes[static_cast<size_t>(direction)];
    lane = make_lane(config, codec.get(), direction);
    engine::warm_up(model_.executor(), lane, [&] { report(fraction, "warming up"); });
  }
  publish(load, std::move(codec), lanes, std::move(sha256));
  log(MOSHI_LOG_INFO, "engine", "loaded " + facts.mimi_file + " (" + model_.kernels() + ")");
}

void Loader::publish(Load& load, std::unique_ptr<mimi::Codec> codec, const std::array<Lane, 2>& lanes,
                     std::string sha256) {
  report(1.0, "ready");
  std::lock_guard lock(model_.mutex_);
  // Whoever came after it was abandoned has a load of the same directions waiting behind this one.
  if (load.abandoned) throw Error(MOSHI_ERR_CANCELLED, "loading " + model_.facts().mimi_file + " was cancelled");
  // Engines have handed out pointers to it if there was a load before this one.
  if (model_.sha256_.empty()) model_.sha256_ = std::move(sha256);
  model_.codecs_.push_back(std::move(codec));
  for (const mimi::Direction direction : load.directions) {
    const auto i = static_cast<size_t>(direction);
    model_.lane_store_[i] = lanes[i];
    model_.lanes_[i].store(&model_.lane_store_[i]);
  }
  end(load, Load::State::kReady);
}

void Loader::end(Load& load, Load::State state) {
  load.state = state;
  load.source.reset();
  auto& queue = model_.queue_;
  queue.erase(std::remove_if(queue.begin(), queue.end(), [&](const auto& other) { return other.get() == &load; }),
              queue.end());
  model_.changed_.notify_all();
}

void Loader::report(double fraction, const char* stage) {
  std::unique_lock lock(model_.mutex_);
  const auto check = [&] {
    if (load_->abandoned || exiting()) {
      throw Error(MOSHI_ERR_CANCELLED, "loading " + model_.facts().mimi_file + " was cancelled");
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
