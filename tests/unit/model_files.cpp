// SPDX-License-Identifier: MIT
#include "checkpoint/model_files.h"

#include "checkpoint/hub_cache.h"
#include "checkpoint/safetensors.h"
#include "temp_dir.h"

namespace {

using moshi::checkpoint::find_language_model;
using moshi::checkpoint::find_model;
using moshi::checkpoint::LmFiles;
using moshi::checkpoint::LmRequest;
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
  ModelFiles find(const std::string& model, const std::string& weights = "") { return find_model({model, weights}); }
  void not_found(const std::string& model, const std::string& part) {
    expect_error(MOSHI_ERR_NOT_FOUND, part, [&] { find(model); });
  }
  void not_fetched(const std::string& model, const std::string& part) {
    expect_error(MOSHI_ERR_NOT_FETCHED, part, [&] { find(model); });
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
  Environment online_{"HF_HUB_OFFLINE", ""}, online_too_{"TRANSFORMERS_OFFLINE", ""};
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

TEST_F(ModelFilesTest, NothingIsNamed) {
  expect_error(MOSHI_ERR_NOT_FOUND, "model property", [&] { find(""); });
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
  not_fetched("owner/name", std::string("hf download owner/name config.json ") + kMimi);
  not_fetched("owner/name@v1", "--revision v1");
  not_fetched("owner/name", dir_ / "hub");
  for (const char* name : {"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"}) {
    const Environment offline(name, "True");
    not_found("owner/name", "HF_HUB_OFFLINE");
    not_found("owner/name", dir_ / "hub");
  }
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
  not_fetched("owner/name@other", "hf download owner/name");
  std::filesystem::remove(dir_ / "hub/models--owner--name/blobs/1234");
  not_fetched("owner/name", "hf download owner/name mimi.safetensors");
}

TEST_F(ModelFilesTest, HubModelWithoutConfig) {
  dir_.write("hub/models--owner--name/refs/main", kCommit);
  dir_.write(snapshot("README.md"), "");
  not_fetched("owner/name", std::string("hf download owner/name config.json ") + kMimi);
  dir_.write("hub/models--owner--name/.no_exist/" + std::string(kCommit) + "/config.json", "");
  not_fetched("owner/name", std::string("hf download owner/name ") + kMimi);
  dir_.write(snapshot("model.safetensors"), "");
  not_fetched("owner/name", kMimi);
  {
    const Environment offline("HF_HUB_OFFLINE", "1");
    not_found("owner/name", kMimi);
  }
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
  not_fetched(dir_ / "m", "hf download owner/name gone.safetensors");
  const std::string elsewhere = dir_.write("elsewhere.safetensors", "");
  dir_.write("m/config.json", R"({"mimi_name": "file://)" + elsewhere + "\"}");
  EXPECT_EQ(find(dir_ / "m").mimi_weights, elsewhere);
}

class LmFilesTest : public ModelFilesTest {
 protected:
  LmFiles find_lm(const std::string& model) { return find_lm(LmRequest{model, "", "", "", ""}); }
  LmFiles find_lm(const LmRequest& request) { return find_language_model(request); }
  void lm_error(MoshiStatus status, const std::string& model, const std::string& part) {
    expect_error(status, part, [&] { find_lm(model); });
  }
  std::string write_model(const std::string& name) {
    for (const char* file : {"model.safetensors", "tokenizer_spm_32k_3.model", kMimi}) {
      dir_.write(name + "/" + file, "");
    }
    return dir_ / name;
  }
};

TEST_F(LmFilesTest, DefaultNames) {
  const std::string m = write_model("m");
  const LmFiles files = find_lm(m);
  EXPECT_EQ(files.directory, m);
  EXPECT_EQ(files.config, "");
  EXPECT_EQ(files.lm_weights, m + "/model.safetensors");
  EXPECT_EQ(files.tokenizer, m + "/tokenizer_spm_32k_3.model");
  EXPECT_EQ(files.mimi_weights, m + "/" + kMimi);
  EXPECT_EQ(files.mimi_config, "");
  EXPECT_EQ(files.lora, "");
  dir_.write("m/config.json", R"({"dim": 64, "moshi_name": null, "lora_name": null})");
  EXPECT_EQ(find_lm(m).lm_weights, files.lm_weights);
  EXPECT_EQ(find_lm(m).config, m + "/config.json");
}

TEST_F(LmFilesTest, NamesFromConfig) {
  dir_.write("m/config.json", R"({"moshi_name": "a/lm.sft", "tokenizer_name": "t.model", "mimi_name": "c.safetensors",
                                  "mimi_config_name": "c.json", "lora_name": "l.safetensors"})");
  for (const char* file : {"a/lm.sft", "t.model", "c.safetensors", "c.json", "l.safetensors", "model.safetensors"}) {
    dir_.write(std::string("m/") + file, "{}");
  }
  const LmFiles files = find_lm("file://" + (dir_ / "m"));
  EXPECT_EQ(files.lm_weights, dir_ / "m/a/lm.sft");
  EXPECT_EQ(files.tokenizer, dir_ / "m/t.model");
  EXPECT_EQ(files.mimi_weights, dir_ / "m/c.safetensors");
  EXPECT_EQ(files.mimi_config, dir_ / "m/c.json");
  EXPECT_EQ(files.lora, dir_ / "m/l.safetensors");
  std::filesystem::remove(dir_ / "m/a/lm.sft");
  lm_error(MOSHI_ERR_NOT_FOUND, dir_ / "m", "m/a/lm.sft\" (the language model's weights, named by moshi_name");
}

TEST_F(LmFilesTest, OnlyWeightsAndLoraMustBeThere) {
  dir_.write("m/model.safetensors", "");
  const LmFiles files = find_lm(dir_ / "m");
  EXPECT_EQ(files.tokenizer + files.mimi_weights + files.mimi_config + files.lora, "");
  dir_.write("m/config.json", R"({"tokenizer_name": "gone", "mimi_name": "gone", "mimi_config_name": "gone"})");
  EXPECT_EQ(find_lm(dir_ / "m").tokenizer, "");
  dir_.write("m/config.json", R"({"mimi_config_name": "gone"})");
  dir_.write(std::string("m/") + kMimi, "");
  EXPECT_EQ(find_lm(dir_ / "m").mimi_weights, "") << "not without the configuration that belongs to it";
  dir_.write("m/config.json", R"({"lora_name": "gone"})");
  lm_error(MOSHI_ERR_NOT_FOUND, dir_ / "m", "named by lora_name");
  std::filesystem::remove(dir_ / "m/model.safetensors");
  lm_error(MOSHI_ERR_NOT_FOUND, dir_ / "m", "moshi_name");
  lm_error(MOSHI_ERR_NOT_FOUND, dir_ / "m", "m/model.safetensors");
}

TEST_F(LmFilesTest, TheOtherPublishedNameOfMimi) {
  dir_.write("m/model.safetensors", "");
  dir_.write("m/mimi-pytorch-e351c8d8@125.safetensors", "");
  EXPECT_EQ(find_lm(dir_ / "m").mimi_weights, dir_ / "m/mimi-pytorch-e351c8d8@125.safetensors");
}

TEST_F(LmFilesTest, Replacements) {
  const std::string m = write_model("m");
  for (const char* file : {"w.safetensors", "t.model", "l.safetensors"}) dir_.write(file, "");
  const std::string config = dir_.write("c.json", R"({"moshi_name": "gone", "lora_name": "gone"})");
  const LmFiles files =
      find_lm({m, dir_ / "w.safetensors", config, "file://" + (dir_ / "t.model"), dir_ / "l.safetensors"});
  EXPECT_EQ(files.directory, m);
  EXPECT_EQ(files.config, config);
  EXPECT_EQ(files.lm_weights, dir_ / "w.safetensors");
  EXPECT_EQ(files.tokenizer, dir_ / "t.model");
  EXPECT_EQ(files.lora, dir_ / "l.safetensors");
  EXPECT_EQ(files.mimi_weights, m + "/" + kMimi);
  const std::string gone = dir_ / "gone";
  expect_error(MOSHI_ERR_NOT_FOUND, "weights property", [&] { find_lm({m, gone, "", "", ""}); });
  expect_error(MOSHI_ERR_NOT_FOUND, "config property", [&] { find_lm({m, "", gone, "", ""}); });
  expect_error(MOSHI_ERR_NOT_FOUND, "tokenizer property", [&] { find_lm({m, "", "", gone, ""}); });
  expect_error(MOSHI_ERR_NOT_FOUND, "lora property", [&] { find_lm({m, "", "", "", gone}); });
}

TEST_F(LmFilesTest, AWeightFileIsAModel) {
  const std::string m = write_model("m");
  dir_.write("m/config.json", R"({"moshi_name": "gone.safetensors"})");
  const std::string weights = dir_.write("m/model.q8.safetensors", "");
  for (const LmRequest& request : {LmRequest{weights, "", "", "", ""}, LmRequest{"", weights, "", "", ""}}) {
    const LmFiles files = find_lm(request);
    EXPECT_EQ(files.lm_weights, weights);
    EXPECT_EQ(files.config, m + "/config.json");
    EXPECT_EQ(files.tokenizer, m + "/tokenizer_spm_32k_3.model");
  }
  lm_error(MOSHI_ERR_FORMAT, dir_.write("a.txt", ""), "neither a directory nor a .safetensors file");
}

TEST_F(LmFilesTest, BadConfigs) {
  write_model("m");
  for (const char* key : {"moshi_name", "tokenizer_name", "mimi_name", "mimi_config_name", "lora_name"}) {
    dir_.write("m/config.json", std::string("{\"") + key + "\": \"../x\"}");
    lm_error(MOSHI_ERR_FORMAT, dir_ / "m", "not a name inside of the model");
    dir_.write("m/config.json", std::string("{\"") + key + "\": 3}");
    lm_error(MOSHI_ERR_FORMAT, dir_ / "m", std::string(key) + " must be a string");
  }
}

TEST_F(LmFilesTest, ModelsOfTheHub) {
  lm_error(MOSHI_ERR_NOT_FETCHED, "owner/name", "hf download owner/name");
  dir_.write("hub/models--owner--name/refs/main", kCommit);
  dir_.write(snapshot("config.json"), R"({"tokenizer_name": "t.model"})");
  lm_error(MOSHI_ERR_NOT_FETCHED, "owner/name", std::string("model.safetensors t.model ") + kMimi);
  dir_.write(snapshot("model.safetensors"), "");
  dir_.write(snapshot(kMimi), "");
  lm_error(MOSHI_ERR_NOT_FETCHED, "owner/name", "the tokenizer, named by tokenizer_name");
  {
    const Environment offline("HF_HUB_OFFLINE", "1");
    EXPECT_EQ(find_lm("owner/name").tokenizer, "");
  }
  dir_.write("hub/models--owner--name/.no_exist/" + std::string(kCommit) + "/t.model", "");
  EXPECT_EQ(find_lm("owner/name").tokenizer, "") << "the hub is known not to have it";
  dir_.write("m/config.json", R"({"moshi_name": "hf://owner/name/model.safetensors"})");
  EXPECT_EQ(find_lm(dir_ / "m").lm_weights, dir_ / snapshot("model.safetensors"));
  EXPECT_EQ(find_lm({"", "hf://owner/name/model.safetensors", "", "", ""}).config, dir_ / snapshot("config.json"));
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
