// SPDX-License-Identifier: MIT
// The core against the committed conformance vectors: the reference's results without the reference.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <stdexcept>

#include "core_library.h"
#include "moshi/core.h"
#include "vector.h"

namespace {

namespace fs = std::filesystem;
using moshi_vectors::Vector;

using moshi_vectors::api;
using moshi_vectors::EngineClose;
using moshi_vectors::require;
using moshi_vectors::SessionClose;

/// A model directory that lives as long as the program.
class Model {
 public:
  explicit Model(const Vector& vector) {
    std::string command = MOSHI_VECTORS_GENERATOR " --seed " + std::to_string(vector.seed);
    if (!vector.config.empty()) {
      std::ofstream(folder_.path() / "shape.json") << vector.config;
      command += " --config '" + (folder_.path() / "shape.json").string() + "'";
    }
    command += " --output '" + directory() + "' >/dev/null";
    if (std::system(command.c_str()) != 0) throw std::runtime_error("failed: " + command);
  }

  std::string directory() const { return (folder_.path() / "model").string(); }
  std::string weights() const {
    for (const auto& entry : fs::directory_iterator(directory())) {
      if (entry.path().extension() == ".safetensors") return entry.path().string();
    }
    throw std::runtime_error("no weights in " + directory());
  }

 private:
  moshi_vectors::TemporaryFolder folder_;
};

struct Loaded {
  explicit Loaded(const std::string& name)
      : vector(moshi_vectors::load_vector(MOSHI_VECTORS_FOLDER, name)), model(vector) {
    const std::string directory = model.directory();
    MoshiEngineConfig config = MOSHI_INIT(MoshiEngineConfig);
    config.model = directory.c_str();
    config.device = "cpu";
    config.roles = MOSHI_ROLE_ENCODE | MOSHI_ROLE_DECODE;
    MoshiError error = MOSHI_INIT(MoshiError);
    MoshiEngine* raw = nullptr;
    require(api().engine_open(&config, &raw, &error), error);
    engine.reset(raw);
    require(api().engine_wait(raw, MOSHI_FOREVER, &error), error);
    info = MOSHI_INIT(MoshiEngineInfo);
    require(api().engine_info(raw, &info, &error), error);
    pcm = moshi_vectors::speech(MOSHI_VECTORS_FOLDER, vector, info.frame_samples);
  }

  Vector vector;
  Model model;
  std::unique_ptr<MoshiEngine, EngineClose> engine;
  MoshiEngineInfo info;
  std::vector<float> pcm;
};

/// One stream through the core, so many frames per call.
class Stream {
 public:
  Stream(Loaded& loaded, int frames_per_call) : loaded_(loaded), group_(frames_per_call) {
    MoshiSessionConfig config = MOSHI_INIT(MoshiSessionConfig);
    config.roles = MOSHI_ROLE_ENCODE | MOSHI_ROLE_DECODE;
    config.work_class = MOSHI_CLASS_FILE;
    MoshiError error = MOSHI_INIT(MoshiError);
    MoshiSession* raw = nullptr;
    require(api().session_open(loaded.engine.get(), &config, &raw, &error), error);
    session_.reset(raw);
  }

  void encode() {
    const Vector& v = loaded_.vector;
    codes.resize(v.codes.size());
    latents.resize(static_cast<size_t>(v.frames) * loaded_.info.latent_width);
    each_group([&](MoshiJob& job, int frame) {
      job.kind = MOSHI_JOB_ENCODE;
      job.codebooks = v.codebooks;
      job.pcm_in = loaded_.pcm.data() + static_cast<size_t>(frame) * loaded_.info.frame_samples;
      job.codes_out = codes.data() + static_cast<size_t>(frame) * v.codebooks;
      job.latent_out = latents.data() + static_cast<size_t>(frame) * loaded_.info.latent_width;
    });
  }

  void decode(int codebooks) {
    const Vector& v = loaded_.vector;
    std::vector<uint16_t> part;
    for (size_t i = 0; i < v.codes.size(); ++i) {
      if (static_cast<int>(i % v.codebooks) < codebooks) part.push_back(v.codes[i]);
    }
    audio.resize(static_cast<size_t>(v.frames) * loaded_.info.frame_samples);
    each_group([&](MoshiJob& job, int frame) {
      job.kind = MOSHI_JOB_DECODE;
      job.codebooks = codebooks;
      job.codes_in = part.data() + static_cast<size_t>(frame) * codebooks;
      job.pcm_out = audio.data() + static_cast<size_t>(frame) * loaded_.info.frame_samples;
    });
  }

  std::vector<uint16_t> codes;
  std::vector<float> latents;
  std::vector<float> audio;

 private:
  template <class Fill>
  void each_group(const Fill& fill) {
    for (int frame = 0; frame < loaded_.vector.frames; frame += group_) {
      MoshiJob job = MOSHI_INIT(MoshiJob);
      job.frames = std::min(group_, loaded_.vector.frames - frame);
      job.deadline_ns = MOSHI_NO_DEADLINE;
      fill(job, frame);
      MoshiError error = MOSHI_INIT(MoshiError);
      require(api().submit(session_.get(), &job, &error), error);
      require(api().wait(session_.get(), &job, MOSHI_FOREVER, &error), error);
    }
  }

  Loaded& loaded_;
  int group_;
  std::unique_ptr<MoshiSession, SessionClose> session_;
};

/// What one frame per call gives; computed when first asked for.
struct Results {
  const Stream& encoded(Loaded& loaded) {
    if (!encoded_) {
      encoded_ = std::make_unique<Stream>(loaded, 1);
      encoded_->encode();
    }
    return *encoded_;
  }
  const std::vector<float>& audio(Loaded& loaded, int codebooks) {
    std::vector<float>& slot = audio_[codebooks];
    if (slot.empty()) {
      Stream stream(loaded, 1);
      stream.decode(codebooks);
      slot = std::move(stream.audio);
    }
    return slot;
  }

 private:
  std::unique_ptr<Stream> encoded_;
  std::map<int, std::vector<float>> audio_;
};

class Conformance : public testing::TestWithParam<const char*> {
 protected:
  static void TearDownTestSuite() {
    results().clear();  // holds sessions
    models().clear();
  }

  // Models are made once, and run once, for all the tests below.
  static std::map<std::string, std::unique_ptr<Loaded>>& models() {
    static std::map<std::string, std::unique_ptr<Loaded>> all;
    return all;
  }
  static std::map<std::string, Results>& results() {
    static std::map<std::string, Results> all;
    return all;
  }
  Loaded& loaded() {
    std::unique_ptr<Loaded>& slot = models()[GetParam()];
    if (!slot) slot = std::make_unique<Loaded>(GetParam());
    return *slot;
  }
  const Stream& encoded() { return results()[GetParam()].encoded(loaded()); }
  const std::vector<float>& audio(int codebooks) { return results()[GetParam()].audio(loaded(), codebooks); }
};

TEST_P(Conformance, SameInput) {
  const Vector& v = loaded().vector;
  EXPECT_EQ(moshi_vectors::sha256_of_file(loaded().model.weights()), v.model_sha256);
  EXPECT_EQ(moshi_vectors::sha256_of_file(MOSHI_VECTORS_FOLDER "/" + v.speech_file), v.speech_sha256);
}

TEST_P(Conformance, Codes) {
  const Vector& v = loaded().vector;
  const Stream& stream = encoded();
  for (int frame = 0; frame < v.frames; ++frame) {
    for (int k = 0; k < v.codebooks; ++k) {
      const size_t at = static_cast<size_t>(frame) * v.codebooks + k;
      if (stream.codes[at] == v.codes[at]) continue;
      const auto tie = v.ties.find({frame, k});
      ASSERT_TRUE(tie != v.ties.end() && tie->second == stream.codes[at])
          << "frame " << frame << " codebook " << k << ": " << stream.codes[at] << ", the reference has "
          << v.codes[at];
      if (k > 0) break;  // later codebooks follow from the other code; codebook 0 has none that follow
    }
  }
}

TEST_P(Conformance, Latents) {
  const Vector& v = loaded().vector;
  const int width = loaded().info.latent_width;
  const Stream& stream = encoded();
  for (int frame = 0; frame < v.frames; ++frame) {
    const float* latent = stream.latents.data() + static_cast<size_t>(frame) * width;
    const double limit = moshi_vectors::kLatentLimit * v.greatest[frame];
    double greatest = 0;
    for (int i = 0; i < width; ++i) greatest = std::max(greatest, std::fabs(static_cast<double>(latent[i])));
    ASSERT_NEAR(greatest, v.greatest[frame], limit) << "frame " << frame;
    for (int i = 0; i < moshi_vectors::kChannels; ++i) {
      ASSERT_NEAR(latent[moshi_vectors::channel(frame, i, width)], v.channels[frame][i], limit) << "frame " << frame;
    }
  }
}

TEST_P(Conformance, Audio) {
  const Vector& v = loaded().vector;
  const int size = loaded().info.frame_samples;
  ASSERT_FALSE(v.audio.empty());
  for (const auto& [codebooks, expected] : v.audio) {
    const std::vector<float>& samples = audio(codebooks);
    for (int frame = 0; frame < v.frames; ++frame) {
      for (int i = 0; i < moshi_vectors::kSpots; ++i) {
        const int spot = moshi_vectors::spot(frame, i, size);
        ASSERT_NEAR(samples[static_cast<size_t>(frame) * size + spot], expected.spots[frame][i],
                    moshi_vectors::kAudioLimit)
            << "frame " << frame << " sample " << spot << ", " << codebooks << " codebooks";
      }
    }
    EXPECT_EQ(moshi_vectors::rounded_sha256(samples, expected.offsets), expected.sha256) << codebooks << " codebooks";
  }
}

TEST_P(Conformance, GroupingChangesNoBit) {
  const int codebooks = loaded().vector.audio.rbegin()->first;
  Stream grouped(loaded(), 7);
  grouped.encode();
  grouped.decode(codebooks);
  EXPECT_EQ(encoded().codes, grouped.codes);
  EXPECT_EQ(encoded().latents, grouped.latents);
  EXPECT_EQ(audio(codebooks), grouped.audio);
}

INSTANTIATE_TEST_SUITE_P(Vectors, Conformance, testing::Values("small", "default"),
                         [](const auto& info) { return std::string(info.param); });

}  // namespace
