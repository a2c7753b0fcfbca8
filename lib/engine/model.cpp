// SPDX-License-Identifier: MIT
#include "engine/model.h"

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "engine/errors.h"
#include "engine/loader.h"

namespace moshi::engine {

bool Load::loads(mimi::Direction direction) const {
  return std::find(directions.begin(), directions.end(), direction) != directions.end();
}

Model::Model(ModelFacts facts, Identity identity, std::shared_ptr<Executor> executor)
    : facts_(std::move(facts)), identity_(std::move(identity)), executor_(std::move(executor)) {}

Model::~Model() { log(MOSHI_LOG_INFO, "engine", "freed " + facts_.mimi_file); }

const std::string& Model::sha256() const {
  static const std::string none;
  std::lock_guard lock(mutex_);
  return sha256_.empty() ? none : sha256_;
}

uint64_t Model::weight_bytes() const {
  std::lock_guard lock(mutex_);
  uint64_t bytes = 0;
  for (const auto& codec : codecs_) bytes += codec->weight_bytes();
  return bytes;
}

const char* Model::kernels() const {
  std::lock_guard lock(mutex_);
  return codecs_.empty() ? "" : codecs_.front()->name();
}

std::shared_ptr<Load> Model::load_in_progress(mimi::Direction direction) const {
  for (const auto& load : queue_) {
    if (load->loads(direction) && !load->abandoned) return load;
  }
  return nullptr;
}

void Model::join(Engine& engine, std::shared_ptr<const ModelSource> source) {
  std::lock_guard lock(mutex_);
  auto missing = std::make_shared<Load>();
  for (const mimi::Direction direction : {mimi::Direction::kEncode, mimi::Direction::kDecode}) {
    if (!(engine.roles & role_of(direction)) || lane(direction)) continue;
    auto load = load_in_progress(direction);
    if (!load) {
      missing->directions.push_back(direction);
    } else if (std::find(engine.loads.begin(), engine.loads.end(), load) == engine.loads.end()) {
      engine.loads.push_back(std::move(load));
    }
  }
  engines_.push_back(&engine);
  try {
    if (!missing->directions.empty()) {
      missing->source = std::move(source);
      engine.loads.push_back(missing);
      start_loading(std::move(missing));
    }
  } catch (...) {
    engines_.pop_back();
    throw;
  }
  for (const auto& load : engine.loads) ++load->wanted_by;
}

void Model::start_loading(std::shared_ptr<Load> load) {
  queue_.push_back(std::move(load));
  if (loading_) return;
  try {
    Loader::start(shared_from_this());
  } catch (...) {
    queue_.pop_back();
    throw;
  }
  loading_ = true;
}

bool Model::wait(Engine& engine, int64_t timeout_ns) {
  std::unique_lock lock(mutex_);
  const bool over = wait_until(changed_, lock, timeout_ns, [&] {
    return engine.cancelled ||
           std::all_of(engine.loads.begin(), engine.loads.end(), [](const auto& load) { return load->ended(); });
  });
  if (engine.cancelled) throw Error(MOSHI_ERR_CANCELLED, "waiting for " + facts_.mimi_file + " was cancelled");
  if (!over) return false;
  for (const auto& load : engine.loads) {
    if (load->state == Load::State::kFailed) throw Error(load->error.status, load->error.message, load->error.detail);
  }
  return true;
}

void Model::cancel_locked(Engine& engine) {
  if (engine.cancelled) return;
  engine.cancelled = true;
  for (const auto& load : engine.loads) {
    if (--load->wanted_by == 0 && !load->ended()) load->abandoned = true;
  }
}

void Model::cancel(Engine& engine) {
  std::lock_guard lock(mutex_);
  cancel_locked(engine);
  changed_.notify_all();
}

void Model::leave(Engine& engine) {
  std::unique_lock lock(mutex_);
  cancel_locked(engine);
  engines_.erase(std::remove(engines_.begin(), engines_.end(), &engine), engines_.end());
  // A callback that closes its own engine must not wait for itself.
  changed_.wait(lock, [&] { return reporting_to_ != &engine || reporter_ == std::this_thread::get_id(); });
}

const char* role_name(mimi::Direction direction) {
  return direction == mimi::Direction::kEncode ? "MOSHI_ROLE_ENCODE" : "MOSHI_ROLE_DECODE";
}

uint64_t ring_bytes(const mimi::Config& config) {
  const auto& transformer = config.transformer;
  return uint64_t{2} * sizeof(float) * static_cast<uint64_t>(transformer.num_layers) *
         static_cast<uint64_t>(transformer.context) * static_cast<uint64_t>(transformer.d_model);
}

}  // namespace moshi::engine
