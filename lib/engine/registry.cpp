// SPDX-License-Identifier: MIT
#include "engine/registry.h"

#include <map>
#include <mutex>
#include <string>
#include <utility>

#include "common/log.h"
#include "engine/device.h"
#include "engine/environment.h"
#include "engine/errors.h"

namespace moshi::engine {
namespace {

constexpr int kMostThreads = 1024;

/// References are weak: a model lives as long as an engine, a session or its load.
struct Registry {
  std::mutex mutex;
  std::map<std::string, std::weak_ptr<Model>> models;
};

Registry& registry() {
  static auto* all = new Registry;  // never destroyed: a load may end while the process exits
  return *all;
}

std::string text(const char* string) { return string ? string : ""; }

void check_roles(uint32_t roles) {
  constexpr uint32_t kCodec = MOSHI_ROLE_ENCODE | MOSHI_ROLE_DECODE;
  if (roles == 0) invalid("MoshiEngineConfig::roles is 0: name at least one MoshiRole");
  if (roles & ~(kCodec | MOSHI_ROLE_LM)) invalid("MoshiEngineConfig::roles has bits that are no MoshiRole");
  if (roles & MOSHI_ROLE_LM) {
    throw Error(MOSHI_ERR_NOT_SUPPORTED,
                "this core computes no language model yet: MoshiEngineConfig::roles can be MOSHI_ROLE_ENCODE and "
                "MOSHI_ROLE_DECODE");
  }
}

MoshiPrecision resolve_precision(int precision) {
  if (precision == MOSHI_PRECISION_AUTO || precision == MOSHI_PRECISION_F32) return MOSHI_PRECISION_F32;
  if (precision < MOSHI_PRECISION_AUTO || precision > MOSHI_PRECISION_INT4) {
    invalid("MoshiEngineConfig::precision is " + std::to_string(precision) + ": it is one of MoshiPrecision");
  }
  throw Error(MOSHI_ERR_NOT_SUPPORTED, "this core computes Mimi in f32 only: use precision auto or f32");
}

Backend resolve_backend(uint32_t number, const std::string& device) {
  if (number > static_cast<uint32_t>(Backend::kTorch)) {
    invalid("MoshiEngineConfig::backend is " + std::to_string(number) + ": it is 0, 1 or 2");
  }
  const auto backend = static_cast<Backend>(number);
  return backend == Backend::kAuto ? default_backend(device) : backend;
}

std::string key_of(const ModelFacts& facts, const Model::Identity& identity) {
  std::string key = facts.identity;
  // A NUL keeps fields apart: paths cannot hold it.
  for (const std::string& part :
       {mimi::to_json(facts.config), identity.device, std::to_string(static_cast<int>(identity.precision)),
        std::to_string(static_cast<int>(identity.backend))}) {
    key += '\0';
    key += part;
  }
  return key;
}

std::shared_ptr<Model> find_or_make(const ModelFacts& facts, const Model::Identity& identity, int threads) {
  auto executor = Executor::acquire(identity.device, threads);
  Registry& all = registry();
  std::lock_guard lock(all.mutex);
  for (auto at = all.models.begin(); at != all.models.end();) {
    at = at->second.expired() ? all.models.erase(at) : std::next(at);
  }
  std::weak_ptr<Model>& slot = all.models[key_of(facts, identity)];
  auto model = slot.lock();
  if (!model) {
    model = std::make_shared<Model>(facts, identity, std::move(executor));
    slot = model;
  }
  return model;
}

}  // namespace

std::unique_ptr<Engine> open_engine(const MoshiEngineConfig& config) {
  check_roles(config.roles);
  if (config.threads < 0 || config.threads > kMostThreads) {
    invalid("MoshiEngineConfig::threads is " + std::to_string(config.threads) + ": it is 0 (all cores) to " +
            std::to_string(kMostThreads));
  }
  Model::Identity identity;
  identity.device = resolve_device(text(config.device));
  identity.precision = resolve_precision(raw(config.precision));
  identity.backend = resolve_backend(config.backend, identity.device);
  auto source = environment().open_source({text(config.model), text(config.weights)});

  auto engine = std::make_unique<Engine>();
  engine->roles = config.roles;
  engine->progress = config.progress;
  engine->progress_user = config.progress_user;
  engine->facts = source->facts();
  engine->model = find_or_make(source->facts(), identity, config.threads);
  engine->model->join(*engine, std::move(source));
  return engine;
}

void close_engine(std::unique_ptr<Engine> engine) {
  Model& model = *engine->model;
  if (model.executor().on_own_thread()) {
    log(MOSHI_LOG_ERROR, "engine", "engine_close() was called from a completion callback: the engine is not closed");
    static_cast<void>(engine.release());
    return;
  }
  model.leave(*engine);
}

}  // namespace moshi::engine
