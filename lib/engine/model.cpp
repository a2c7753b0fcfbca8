// SPDX-License-Identifier: MIT
#include "engine/model.h"

#include <algorithm>
#include <utility>

#include "common/log.h"
#include "engine/errors.h"
#include "engine/loader.h"

namespace moshi::engine {

bool Load::loads(Work work) const { return std::find(works.begin(), works.end(), work) != works.end(); }

Model::Model(ModelFacts facts, Identity identity, std::shared_ptr<Executor> executor)
    : facts_(std::move(facts)), identity_(std::move(identity)), executor_(std::move(executor)) {}

Model::~Model() { log(MOSHI_LOG_INFO, "engine", "freed " + facts_.weight_file()); }

// What is empty now may be set while the caller still reads: it gets another one, which stays empty.
const std::string& Model::sha256() const {
  static const std::string none;
  std::lock_guard lock(mutex_);
  return sha256_.empty() ? none : sha256_;
}

const std::string& Model::mimi_sha256() const {
  static const std::string none;
  std::lock_guard lock(mutex_);
  return mimi_sha256_.empty() ? none : mimi_sha256_;
}

const std::vector<int32_t>& Model::silence() const {
  static const std::vector<int32_t> none;
  std::lock_guard lock(mutex_);
  return silence_.empty() ? none : silence_;
}

bool Model::enter_session(int most) {
  int there = sessions_.load();
  do {
    if (most > 0 && there >= most) return false;
  } while (!sessions_.compare_exchange_weak(there, there + 1));
  return true;
}

uint64_t Model::weight_bytes() const {
  std::lock_guard lock(mutex_);
  uint64_t bytes = 0;
  for (const auto& codec : codecs_) bytes += codec->weight_bytes();
  if (language_model_) bytes += language_model_->weight_bytes();
  return bytes;
}

const char* Model::kernels() const {
  std::lock_guard lock(mutex_);
  if (language_model_) return language_model_->name();
  return codecs_.empty() ? "" : codecs_.front()->name();
}

std::shared_ptr<Load> Model::load_in_progress(Work work) const {
  for (const auto& load : queue_) {
    if (load->loads(work) && !load->abandoned) return load;
  }
  return nullptr;
}

void Model::join(Engine& engine, Source source) {
  std::lock_guard lock(mutex_);
  auto missing = std::make_shared<Load>();
  for (const Work work : kWorks) {
    if (!(engine.roles & role_of(work)) || lane(work)) continue;
    auto load = load_in_progress(work);
    if (!load) {
      missing->works.push_back(work);
    } else if (std::find(engine.loads.begin(), engine.loads.end(), load) == engine.loads.end()) {
      engine.loads.push_back(std::move(load));
    }
  }
  engines_.push_back(&engine);
  try {
    if (!missing->works.empty()) {
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
  if (engine.cancelled) throw Error(MOSHI_ERR_CANCELLED, "waiting for " + facts_.weight_file() + " was cancelled");
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

uint64_t ring_bytes(const mimi::Config& config) {
  const auto& transformer = config.transformer;
  return uint64_t{2} * sizeof(float) * static_cast<uint64_t>(transformer.num_layers) *
         static_cast<uint64_t>(transformer.context) * static_cast<uint64_t>(transformer.d_model);
}

}  // namespace moshi::engine
