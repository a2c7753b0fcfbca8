// SPDX-License-Identifier: MIT
#include "checkpoint/model_files.h"

#include "checkpoint/hub_cache.h"
#include "checkpoint/safetensors.h"
#include "temp_dir.h"

namespace {

using moshi::checkpoint::find_model;
using moshi::checkpoint::ModelFiles;
using moshi::checkpoint::parse_hub_id;

constexpr const char* kMimi = "tokenizer-e351c8d8-checkpoint125.safetensors";
constexpr const char* kCommit = "0123456789abcdef0123456789abcdef01234567";

/// Sets an environment variable for the length of a test.
class Environment {
 public:
  Environment(const char* name, const std::string& value) : name_(name) {
    if (const char* old = std::getenv(name)) old_ = old, had_ = true;
    value.empty() ? unsetenv(name) : setenv(name, value.c_str(), 1);
  }
  ~Environment() { had_ ? setenv(name_, old_.c_str(), 1) : unsetenv(name_); }

 private:
  const char* name_;
  std::string old_;
  bool had_ = false;
};

class ModelFilesTest : public ::testing::Test {
 protected:
  ModelFiles find(const std::string& model, const std::string& weights = "") {
    return find_model({model, weights, {}});
  }
  void not_found(const std::string& model, const std::string& part) {
    expect_error(MOSHI_ERR_NOT_FOUND, part, [&] { find(model); });
  }
  void bad_config(const std::string& json, const std::string& part) {
    dir_.write("bad/config.json", json);
    expect_error(MOSHI_ERR_FORMAT, part, [&] { find(dir_ / "bad"); });
  }
  std::string snapshot(const std::string& file) const {
    return "hub/models--owner--name/snapshots/" + std::string(kCommit) + "/" + file;
  }
  TempDir dir_;
  Environment cache_{"HF_HUB_CACHE", dir_ / "hub"};
};

TEST_F(ModelFilesTest, DirectoryWithDefaultNames) {
  dir_.write(std::string("m/") + kMimi, "");
  const ModelFiles files = find(dir_ / "m");
  EXPECT_EQ(files.directory, dir_ / "m");
  EXPECT_EQ(files.mimi_weights, dir_ / "m/" + kMimi);
  EXPECT_EQ(files.config, "");
  EXPECT_EQ(files.mimi_config, "");
}

TEST_F(ModelFilesTest, DirectoryWithTheOtherPublishedName) {
  dir_.write("m/mimi-pytorch-e351c8d8@125.safetensors", "");
  dir_.write("m/model.safetensors", "");
  EXPECT_EQ(find(dir_ / "m").mimi_weights, dir_ / "m/mimi-pytorch-e351c8d8@125.safetensors");
}

TEST_F(ModelFilesTest, NamesFromConfig) {
  dir_.write("m/config.json", R"({"mimi_name": "sub/mimi.safetensors", "mimi_config_name": "mimi.json", "dim": 4096})");
  dir_.write("m/sub/mimi.safetensors", "");
  dir_.write("m/mimi.json", "{}");
  const ModelFiles files = find(dir_ / "m");
  EXPECT_EQ(files.config, dir_ / "m/config.json");
  EXPECT_EQ(files.mimi_weights, dir_ / "m/sub/mimi.safetensors");
  EXPECT_EQ(files.mimi_config, dir_ / "m/mimi.json");
  EXPECT_EQ(find("file://" + (dir_ / "m")).mimi_weights, files.mimi_weights);
}

TEST_F(ModelFilesTest, AMissingNamedFileIsNotReplacedByAnother) {
  dir_.write("m/config.json", R"({"mimi_name": "mine.safetensors"})");
  dir_.write(std::string("m/") + kMimi, "");
  not_found(dir_ / "m", "mine.safetensors");
}

TEST_F(ModelFilesTest, TheOnlyCandidateIsTaken) {
  dir_.write("m/whatever.safetensors", "");
  EXPECT_EQ(find(dir_ / "m").mimi_weights, dir_ / "m/whatever.safetensors");
  not_found(dir_ / "empty", "no model");
  std::filesystem::create_directory(dir_ / "empty");
  not_found(dir_ / "empty", "holds no Mimi weight file");

  using moshi::checkpoint::write_safetensors;
  write_safetensors(dir_ / "m/model.safetensors", {{"text_emb.weight", {1}, {0}}}, {});
  write_safetensors(dir_ / "m/codec.sft", {{"quantizer.rvq_first.input_proj.weight", {1}, {0}}}, {});
  EXPECT_EQ(find(dir_ / "m").mimi_weights, dir_ / "m/codec.sft") << "told apart by its tensors";
  write_safetensors(dir_ / "m/codec2.safetensors", {{"quantizer.rvq_first.input_proj.weight", {1}, {0}}}, {});
  not_found(dir_ / "m", "2 Mimi weight files");
}

TEST_F(ModelFilesTest, BadConfigs) {
  bad_config("{", "config.json\" is not valid JSON");
  bad_config("[]", "must hold a JSON object");
  bad_config(R"({"mimi_name": 3})", "mimi_name must be a string");
  for (const char* name : {"../x.safetensors", "/etc/passwd", "a/../../x", ".."}) {
    bad_config(std::string(R"({"mimi_name": ")") + name + "\"}", "not a name inside of the model");
    dir_.write(std::string("bad/") + kMimi, "");
    bad_config(std::string(R"({"mimi_config_name": ")") + name + "\"}", "not a name inside of the model");
  }
  bad_config(R"({"mimi_name": "hf://owner/name"})", "hf://owner/name/file");
  bad_config(R"({"mimi_name": "hf://owner/../../etc/passwd"})", "hf://owner/name/file");
  bad_config(R"({"mimi_name": "hf://owner/name/../../../etc/passwd"})", "hf://owner/name/file");
}

TEST_F(ModelFilesTest, WeightsOverrideTheModelsOwn) {
  dir_.write("m/config.json", R"({"mimi_name": "gone.safetensors", "mimi_config_name": "mimi.json"})");
  dir_.write("m/mimi.json", "{}");
  const std::string weights = dir_.write("other.safetensors", "");
  const ModelFiles files = find(dir_ / "m", weights);
  EXPECT_EQ(files.mimi_weights, weights);
  EXPECT_EQ(files.mimi_config, dir_ / "m/mimi.json");
  EXPECT_EQ(find(dir_ / "m", "file://" + weights).mimi_weights, weights);
  expect_error(MOSHI_ERR_NOT_FOUND, "weights property", [&] { find(dir_ / "m", dir_ / "nothing"); });
  EXPECT_EQ(find("", weights).mimi_weights, weights) << "weights alone are a model";
}

TEST_F(ModelFilesTest, AWeightFileIsAModel) {
  const std::string path = dir_.write("m/mimi.safetensors", "");
  EXPECT_EQ(find(path).mimi_weights, path);
  EXPECT_EQ(find(path).mimi_config, "");
  dir_.write("m/mimi.json", "{}");
  dir_.write("m/config.json", R"({"mimi_name": "another.safetensors", "mimi_config_name": "mimi.json"})");
  EXPECT_EQ(find(path).mimi_config, "") << "that config.json is about another file";
  dir_.write("m/config.json", R"({"mimi_name": "mimi.safetensors", "mimi_config_name": "mimi.json"})");
  EXPECT_EQ(find(path).mimi_config, dir_ / "m/mimi.json");
  expect_error(MOSHI_ERR_FORMAT, "neither a directory nor a .safetensors file", [&] { find(dir_.write("a.txt", "")); });
}

TEST_F(ModelFilesTest, TheDefaultModel) {
  expect_error(MOSHI_ERR_NOT_FOUND, "model property", [&] { find(""); });
  expect_error(MOSHI_ERR_NOT_FOUND, "moshi-random-mimi", [&] { find_model({"", "", {dir_ / "no", dir_ / "none"}}); });
  dir_.write(std::string("second/") + kMimi, "");
  EXPECT_EQ(find_model({"", "", {dir_ / "no", dir_ / "second"}}).directory, dir_ / "second");
}

TEST_F(ModelFilesTest, HubIds) {
  ASSERT_TRUE(parse_hub_id("kyutai/moshiko-pytorch-bf16"));
  EXPECT_EQ(parse_hub_id("kyutai/moshiko-pytorch-bf16")->revision, "main");
  EXPECT_EQ(parse_hub_id("a/b@refs/pr/1")->revision, "refs/pr/1");
  EXPECT_EQ(parse_hub_id("a/b@refs/pr/1")->repository(), "a/b");
  for (const char* bad : {"", "name", "/abs/path", "a/b/c", "../b", "a/..", "a/b@", "a/b@../../x", "a/b@/x", "./b",
                          "a b/c", "-a/b", "a/b@x//y", "~/x", "a/b\n"}) {
    EXPECT_FALSE(parse_hub_id(bad)) << bad;
  }
}

TEST_F(ModelFilesTest, HubModelThatIsNotThere) {
  not_found("owner/name", "hf download owner/name config.json");
  not_found("owner/name@v1", "--revision v1");
  not_found("owner/name", dir_ / "hub");
  not_found("no such thing", "neither a directory");
  not_found("/no/such/directory", "neither a directory");
}

TEST_F(ModelFilesTest, HubModelInTheCache) {
  dir_.write("hub/models--owner--name/refs/main", kCommit);
  dir_.write("hub/models--owner--name/refs/refs/pr/1", std::string(kCommit) + "\n");
  dir_.write("hub/models--owner--name/blobs/1234", "");
  dir_.write(snapshot("config.json"), R"({"mimi_name": "mimi.safetensors", "mimi_config_name": null})");
  // What the client fetches are links into blobs.
  std::filesystem::create_symlink("../../blobs/1234", dir_ / snapshot("mimi.safetensors"));
  for (const std::string id : {"owner/name", "owner/name@main", "owner/name@refs/pr/1"}) {
    EXPECT_EQ(find(id).mimi_weights, dir_ / snapshot("mimi.safetensors")) << id;
  }
  EXPECT_EQ(find("owner/name@" + std::string(kCommit)).config, dir_ / snapshot("config.json"));
  not_found("owner/name@other", "hf download owner/name");
  std::filesystem::remove(dir_ / "hub/models--owner--name/blobs/1234");
  not_found("owner/name", "hf download owner/name mimi.safetensors");
}

TEST_F(ModelFilesTest, HubModelWithoutConfig) {
  dir_.write("hub/models--owner--name/refs/main", kCommit);
  dir_.write(snapshot("README.md"), "");
  not_found("owner/name", std::string("hf download owner/name ") + kMimi);
  dir_.write(snapshot(kMimi), "");
  EXPECT_EQ(find("owner/name").mimi_weights, dir_ / snapshot(kMimi));
  dir_.write("hub/models--owner--name/refs/main", "../../../etc");
  expect_error(MOSHI_ERR_FORMAT, "refs/main", [&] { find("owner/name"); });
}

TEST_F(ModelFilesTest, ReferencesToOtherRepositories) {
  dir_.write("hub/models--owner--name/refs/main", kCommit);
  dir_.write(snapshot("deep/mimi.safetensors"), "");
  dir_.write("m/config.json", R"({"mimi_name": "hf://owner/name/deep/mimi.safetensors"})");
  EXPECT_EQ(find(dir_ / "m").mimi_weights, dir_ / snapshot("deep/mimi.safetensors"));
  EXPECT_EQ(find(dir_ / "m", "hf://owner/name/deep/mimi.safetensors").mimi_weights,
            dir_ / snapshot("deep/mimi.safetensors"));
  dir_.write("m/config.json", R"({"mimi_name": "hf://owner/name/gone.safetensors"})");
  not_found(dir_ / "m", "hf download owner/name gone.safetensors");
  const std::string elsewhere = dir_.write("elsewhere.safetensors", "");
  dir_.write("m/config.json", R"({"mimi_name": "file://)" + elsewhere + "\"}");
  EXPECT_EQ(find(dir_ / "m").mimi_weights, elsewhere);
}

TEST(HubCache, PlacesInOrder) {
  using moshi::checkpoint::hub_cache_directory;
  const Environment none("HF_HUB_CACHE", ""), old("HUGGINGFACE_HUB_CACHE", ""), home("HOME", "/home/someone");
  {
    const Environment hf("HF_HOME", ""), xdg("XDG_CACHE_HOME", "");
    EXPECT_EQ(hub_cache_directory(), "/home/someone/.cache/huggingface/hub");
  }
  const Environment hf("HF_HOME", ""), xdg("XDG_CACHE_HOME", "/caches");
  EXPECT_EQ(hub_cache_directory(), "/caches/huggingface/hub");
  const Environment hf_home("HF_HOME", "~/hf");
  EXPECT_EQ(hub_cache_directory(), "/home/someone/hf/hub");
  const Environment cache("HF_HUB_CACHE", "/the/cache");
  EXPECT_EQ(hub_cache_directory(), "/the/cache");
}

}  // namespace
