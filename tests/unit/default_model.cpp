// SPDX-License-Identifier: MIT
// Where the model of those who name none is looked for.
#include "engine/default_model.h"

#include <gtest/gtest.h>

#include <cstdlib>

#include "common/error.h"
#include "temp_dir.h"

namespace {

using moshi::engine::default_model;
using moshi::engine::embedded_models;

TEST(EmbeddedModels, LieBesideAnInstalledCore) {
  const TempDir dir;
  dir.write("lib/moshi/embedded/config.json", "{}");
  EXPECT_EQ(embedded_models(dir / "lib/moshi"), dir / "lib/moshi/embedded");
}

TEST(EmbeddedModels, LieInTheBuildTreeOfACoreThatIsNot) {
  const TempDir dir;
  dir.write("build/models/embedded/config.json", "{}");
  EXPECT_EQ(embedded_models(dir / "build/lib"), dir / "build/models/embedded");
  dir.write("build/lib/embedded/config.json", "{}");
  EXPECT_EQ(embedded_models(dir / "build/lib"), dir / "build/lib/embedded") << "beside it comes first";
}

TEST(EmbeddedModels, ThatAreNotThereAreMissedWhereTheyWereLookedFor) {
  const TempDir dir;
  dir.write("lib/moshi/embedded/mimi.safetensors", "");
  try {
    embedded_models(dir / "lib/moshi");
    FAIL() << "nothing is there";
  } catch (const moshi::Error& error) {
    EXPECT_EQ(error.status(), MOSHI_ERR_NOT_FOUND);
    const std::string message = error.what();
    EXPECT_NE(message.find(dir / "lib/moshi/embedded"), std::string::npos) << message;
    EXPECT_NE(message.find("install"), std::string::npos) << message;
    EXPECT_NE(message.find("model property"), std::string::npos) << message;
    EXPECT_NE(error.detail().find(dir / "lib/models/embedded"), std::string::npos) << error.detail();
  }
}

TEST(DefaultModel, IsWhatTheEnvironmentNames) {
  setenv("MOSHI_DEFAULT_MODEL", "owner/name", 1);
  const auto chosen = default_model();
  unsetenv("MOSHI_DEFAULT_MODEL");
  EXPECT_EQ(chosen.model, "owner/name");
  EXPECT_FALSE(chosen.embedded);
}

}  // namespace
