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
  if ((roles & MOSHI_ROLE_LM) && (roles & kCodec)) {
    invalid("MoshiEngineConfig::roles combines MOSHI_ROLE_LM with a codec's role: open one engine for each model");
  }
}

MoshiPrecision resolve_precision(int precision, bool lm) {
  if (precision == MOSHI_PRECISION_AUTO || precision == MOSHI_PRECISION_F32) return MOSHI_PRECISION_F32;
  if (precision < MOSHI_PRECISION_AUTO || precision > MOSHI_PRECISION_INT4) {
    invalid("MoshiEngineConfig::precision is " + std::to_string(precision) + ": it is one of MoshiPrecision");
  }
  if (lm && precision == MOSHI_PRECISION_BF16) return MOSHI_PRECISION_BF16;
  throw Error(MOSHI_ERR_NOT_SUPPORTED,
              lm ? "this core computes language models in f32 and bf16 only: use precision auto, f32 or bf16"
                 : "this core computes Mimi in f32 only: use precision auto or f32");
}

Backend resolve_backend(uint32_t number, const std::string& device, bool lm) {
  if (number > static_cast<uint32_t>(Backend::kTorch)) {
    invalid("MoshiEngineConfig::backend is " + std::to_string(number) + ": it is 0, 1 or 2");
  }
  const auto backend = static_cast<Backend>(number);
  if (lm && (backend == Backend::kTorch || device != "cpu")) {
    throw Error(MOSHI_ERR_NOT_SUPPORTED,
                "this core computes language models with packed kernels on the CPU only: use device=cpu and backend 0");
  }
  return backend == Backend::kAuto ? default_backend(device) : backend;
}

std::string key_of(const ModelFacts& facts, const Model::Identity& identity) {
  std::string key = facts.identity;
  // A NUL keeps fields apart: paths cannot hold it.
  for (const std::string& part :
       {facts.lm ? std::string("lm") : mimi::to_json(facts.config), identity.device,
        std::to_string(static_cast<int>(identity.precision)), std::to_string(static_cast<int>(identity.backend))}) {
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

const char* weights_of(const MoshiEngineConfig& config) {
  return config.roles & MOSHI_ROLE_LM ? config.lm_weights : config.weights;
}

/// Whether files are named that replace the model's own: one of those may be what is not there.
bool replaces_files(const MoshiEngineConfig& config) {
  return !text(config.tokenizer).empty() || !text(config.config).empty() || !text(config.lora).empty();
}

/// Calls `use` with the model that is named, or else with the default one, and tells where that came from if it is not
/// there. Returns whether it is the embedded one.
template <class Use>
bool with_model(const MoshiEngineConfig& config, Use use) {
  const std::string named = text(config.model);
  if (!named.empty() || !text(weights_of(config)).empty()) {
    use(named);
    return false;
  }
  const DefaultModel chosen = environment().default_model();
  try {
    use(chosen.model);
  } catch (const Error& error) {
    if (error.status() != MOSHI_ERR_NOT_FOUND || replaces_files(config)) throw;
    const char* why = chosen.embedded
                          ? "; it is one of the embedded models: install gst-moshi with all of them, or set "
                            "the model property to a directory or a hub id"
                          : "; MOSHI_DEFAULT_MODEL names it: change or unset that, or set the model property";
    throw Error(error.status(), error.what() + std::string(why), error.detail());
  }
  return chosen.embedded;
}

void open_source(const MoshiEngineConfig& config, const std::string& model, Source& source) {
  if (config.roles & MOSHI_ROLE_LM) {
    source.lm = environment().open_lm_source({model, text(config.lm_weights), text(config.tokenizer),
                                              text(config.config), text(config.lora), config.lora_separate != 0});
  } else {
    source.mimi = environment().open_source({model, text(config.weights)});
  }
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
  const bool lm = (config.roles & MOSHI_ROLE_LM) != 0;
  identity.precision = resolve_precision(raw(config.precision), lm);
  identity.backend = resolve_backend(config.backend, identity.device, lm);
  Source source;
  const bool embedded = with_model(config, [&](const std::string& model) { open_source(config, model, source); });

  auto engine = std::make_unique<Engine>();
  engine->embedded = embedded;
  engine->roles = config.roles;
  engine->progress = config.progress;
  engine->progress_user = config.progress_user;
  engine->facts = source.facts();
  engine->model = find_or_make(source.facts(), identity, config.threads);
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
  engine->hooks->set(nullptr);
  model.leave(*engine);
}

void fetch_files(const MoshiEngineConfig& config, MoshiFetchFn progress, void* user) {
  check_roles(config.roles);
  checkpoint::FetchRequest request;
  request.weights = text(weights_of(config));
  request.config = text(config.config);
  request.tokenizer = text(config.tokenizer);
  request.lora = text(config.lora);
  request.roles = config.roles;
  with_model(config, [&](const std::string& model) {
    request.model = model;
    environment().fetch_model(request, [&](const std::string& file, uint64_t done, uint64_t total) {
      return !progress || progress(user, file.c_str(), done, total) != 0;
    });
  });
}

}  // namespace moshi::engine
