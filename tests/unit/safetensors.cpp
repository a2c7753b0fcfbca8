// SPDX-License-Identifier: MIT
#include "checkpoint/safetensors.h"

#include <sys/stat.h>

#include <cmath>
#include <cstring>
#include <limits>

#include "temp_dir.h"

namespace {

using moshi::checkpoint::Dtype;
using moshi::checkpoint::F32Tensor;
using moshi::checkpoint::SafetensorsFile;

std::string file_bytes(const std::string& header, const std::string& data) {
  const uint64_t length = header.size();
  std::string bytes(sizeof(length), '\0');
  std::memcpy(bytes.data(), &length, sizeof(length));
  return bytes + header + data;
}

template <class T>
std::string raw(std::initializer_list<T> values) {
  return std::string(reinterpret_cast<const char*>(values.begin()), values.size() * sizeof(T));
}

std::string slurp(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

class Safetensors : public ::testing::Test {
 protected:
  std::shared_ptr<const SafetensorsFile> open(const std::string& header, const std::string& data) {
    return SafetensorsFile::open(dir_.write("a.safetensors", file_bytes(header, data)));
  }
  void refused(const std::string& header, const std::string& data, const std::string& part,
               MoshiStatus status = MOSHI_ERR_FORMAT) {
    SCOPED_TRACE(header.substr(0, 200));
    expect_error(status, part, [&] { open(header, data); });
    expect_error(status, "a.safetensors", [&] { open(header, data); });
  }
  TempDir dir_;
};

TEST_F(Safetensors, WhatIsWrittenIsRead) {
  const std::vector<F32Tensor> tensors = {{"b", {2, 3}, {1, 2, 3, 4, 5, 6}}, {"a", {}, {-0.5f}}, {"none", {0, 4}, {}}};
  const std::string path = dir_ / "x.safetensors";
  moshi::checkpoint::write_safetensors(path, tensors, {{"made_by", "a \"test\" \xc3\xa9"}});
  const auto file = SafetensorsFile::open(path);
  EXPECT_EQ(file->file_bytes(), std::filesystem::file_size(path));
  EXPECT_EQ(file->path(), path);
  EXPECT_EQ(file->metadata().at("made_by"), "a \"test\" \xc3\xa9");
  ASSERT_EQ(file->tensors().size(), 3u);
  for (const F32Tensor& tensor : tensors) {
    const auto& found = file->tensors().at(tensor.name);
    EXPECT_EQ(found.shape, tensor.shape);
    EXPECT_EQ(found.to_f32(), tensor.data);
    file->drop(found);
    EXPECT_EQ(found.to_f32(), tensor.data) << "after its pages were dropped";
  }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir_.str()), {}), 1) << "a temporary file was left";
}

TEST_F(Safetensors, WriterReplacesWholeFilesOnly) {
  const std::string path = dir_.write("x.safetensors", "old");
  EXPECT_THROW(moshi::checkpoint::write_safetensors(path, {{"a", {2}, {1.0f}}}, {}), moshi::Error);
  EXPECT_EQ(slurp(path), "old");
  EXPECT_THROW(moshi::checkpoint::write_safetensors(path, {{"a", {1}, {1.0f}}, {"a", {1}, {1.0f}}}, {}), moshi::Error);
  moshi::checkpoint::write_safetensors(path, {{"a", {1}, {1.0f}}}, {});
  EXPECT_EQ(SafetensorsFile::open(path)->tensors().size(), 1u);
  expect_error(MOSHI_ERR_READ, "no-such-dir", [&] {
    moshi::checkpoint::write_safetensors(dir_ / "no-such-dir/x", {{"a", {1}, {1.0f}}}, {});
  });
}

TEST_F(Safetensors, ConvertsFloatTypes) {
  const auto f16 = open(R"({"t":{"dtype":"F16","shape":[7],"data_offsets":[0,14]}})",
                        raw<uint16_t>({0x3c00, 0xc000, 0x0001, 0x83ff, 0x7bff, 0x7c00, 0xfe00}));
  const std::vector<float> half = f16->tensors().at("t").to_f32();
  EXPECT_EQ(half[0], 1.0f);
  EXPECT_EQ(half[1], -2.0f);
  EXPECT_EQ(half[2], 0x1p-24f);
  EXPECT_EQ(half[3], -0x1.ff8p-15f);
  EXPECT_EQ(half[4], 65504.0f);
  EXPECT_EQ(half[5], std::numeric_limits<float>::infinity());
  EXPECT_TRUE(std::isnan(half[6]));

  const auto bf16 = open(R"({"t":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}})", raw<uint16_t>({0x3fc0, 0x8000}));
  EXPECT_EQ(bf16->tensors().at("t").to_f32(), (std::vector<float>{1.5f, -0.0f}));
  const auto f64 = open(R"({"t":{"dtype":"F64","shape":[1],"data_offsets":[0,8]}})", raw<double>({0.1}));
  EXPECT_EQ(f64->tensors().at("t").to_f32(), std::vector<float>{0.1f});
  // The header's length puts this data on an odd address.
  const auto odd = open(
      R"({"u":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"t":{"dtype":"F32","shape":[1],"data_offsets":[1,5]}})",
      "x" + raw<float>({2.5f}));
  EXPECT_EQ(odd->tensors().at("t").to_f32(), std::vector<float>{2.5f});
  expect_error(MOSHI_ERR_NOT_SUPPORTED, "\"u\" has type U8", [&] { odd->tensors().at("u").to_f32(); });
}

TEST_F(Safetensors, Sha256OfTheWholeFile) {
  const std::string header = R"({"t":{"dtype":"U8","shape":[3],"data_offsets":[0,3]}})";
  // sha256sum of the same bytes.
  EXPECT_EQ(open(header, "abc")->sha256(), "e4f6df17974633a1d6749b11ef3aa77c0f9b331f966f27fbd0557e77ad066aef");
  // Longer than one piece of reading, and no multiple of it.
  const std::string big(3000001, 'q');
  EXPECT_EQ(open(R"({"t":{"dtype":"U8","shape":[3000001],"data_offsets":[0,3000001]}})", big)->sha256(),
            "58eba8c5097a147f73eac8fa57b7a63c766718a172cf5fb120cffbae8e83d77b");
}

TEST_F(Safetensors, EveryTruncationIsRefused) {
  const std::string path = dir_ / "whole.safetensors";
  moshi::checkpoint::write_safetensors(path, {{"a", {2, 2}, {1, 2, 3, 4}}, {"b", {3}, {5, 6, 7}}}, {{"k", "v"}});
  const std::string whole = slurp(path);
  ASSERT_GT(whole.size(), 100u);
  for (size_t length = 0; length < whole.size(); ++length) {
    SCOPED_TRACE(length);
    expect_error(MOSHI_ERR_FORMAT, "cut.safetensors",
                 [&] { SafetensorsFile::open(dir_.write("cut.safetensors", whole.substr(0, length))); });
  }
  expect_error(MOSHI_ERR_FORMAT, "1 bytes follow", [&] { SafetensorsFile::open(dir_.write("more", whole + "x")); });
}

TEST_F(Safetensors, EveryChangedByteIsRefusedOrHarmless) {
  const std::string path = dir_ / "whole.safetensors";
  moshi::checkpoint::write_safetensors(path, {{"a", {2, 2}, {1, 2, 3, 4}}, {"b", {3}, {5, 6, 7}}}, {});
  const std::string whole = slurp(path);
  for (size_t at = 0; at < whole.size(); ++at) {
    for (const int bits : {0x01, 0x10, 0x80, 0xff}) {
      std::string changed = whole;
      changed[at] = static_cast<char>(changed[at] ^ bits);
      try {
        const auto file = SafetensorsFile::open(dir_.write("changed", changed));
        size_t bytes = 0;
        for (const auto& [name, tensor] : file->tensors()) bytes += tensor.data.size();
        EXPECT_EQ(bytes, 28u);
      } catch (const moshi::Error& e) {
        EXPECT_TRUE(e.status() == MOSHI_ERR_FORMAT || e.status() == MOSHI_ERR_NOT_SUPPORTED) << e.what();
      }
    }
  }
}

TEST_F(Safetensors, LyingHeadersAreRefused) {
  const std::string four(4, '\0');
  const std::string eight(8, '\0');
  refused(R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,8]}})", eight, "need 4 bytes");
  refused(R"({"t":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}})", four, "truncated");
  refused(R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", eight, "data_offsets");
  refused(R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", eight, "begins at byte 4");
  refused(R"({"t":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}})", eight, "4 bytes follow");
  refused(
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]},"b":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})",
      eight, "begins at byte 4");
  refused(R"({"t":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,0]}})", "", "64 bits");
  refused(R"({"t":{"dtype":"F32","shape":[4611686018427387904],"data_offsets":[0,0]}})", "", "64 bits");
  refused(R"({"t":{"dtype":"U8","shape":[18446744073709551615],"data_offsets":[0,18446744073709551615]}})", "", "2^63");
  refused(R"({"t":{"dtype":"U8","shape":[99999999999999999999],"data_offsets":[0,4]}})", four, "64-bit integer");
  refused(R"({"t":{"dtype":"U8","shape":[4],"data_offsets":[18446744073709551612,18446744073709551615]}})", four,
          "need 4");
  refused(R"({"t":{"dtype":"U8","shape":[-4],"data_offsets":[0,4]}})", four, "negative");
  refused(R"({"t":{"dtype":"U8","shape":[4.0],"data_offsets":[0,4]}})", four, "64-bit integer");
  refused(R"({"t":{"dtype":"U8","shape":[4],"data_offsets":[0,4,4]}})", four, "more than two");
  refused(R"({"t":{"dtype":"U8","shape":[4],"data_offsets":[0]}})", four, "not all of");
  refused(R"({"t":{"dtype":"U8","shape":[4]}})", four, "not all of");
  refused(R"({"t":{"dtype":"U8","shape":[4],"data_offsets":[0,4],"extra":1}})", four, "unknown key");
  refused(R"({"t":{"dtype":"U8","dtype":"U8","shape":[4],"data_offsets":[0,4]}})", four, "key twice");
  refused(R"({"t":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[0,4]}})", four, "F8_E4M3", MOSHI_ERR_NOT_SUPPORTED);
  refused(R"({"t":{"dtype":["U8"],"shape":[4],"data_offsets":[0,4]}})", four, "list");
  refused(R"({"t":{"dtype":"U8","shape":{"a":4},"data_offsets":[0,4]}})", four, "object");
  refused(
      R"({"t":{"dtype":"U8","shape":[4],"data_offsets":[0,4]},"t":{"dtype":"U8","shape":[0],"data_offsets":[4,4]}})",
      four, "name twice");
  refused(R"({"__metadata__":{"a":1},"t":{"dtype":"U8","shape":[4],"data_offsets":[0,4]}})", four, "__metadata__");
  refused(R"({"__metadata__":{"a":"1","a":"2"}})", "", "key twice");
  refused(R"({"__metadata__":{},"__metadata__":{}})", "", "name twice");
  refused(R"({"t":4})", four, "number");
  refused(R"({"t":null})", four, "null");
  refused("[]", "", "list");
  refused("[1,2]", "", "list");
  refused("4", "", "number");
  refused("", "", "JSON");
  refused("{", "", "JSON");
  refused("{}{}", "", "JSON");
  refused("{\"\xff\":1}", "", "JSON");
  refused(R"({"t":{"dtype":"U8","shape":[1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1],"data_offsets":[0,1]}})", "x",
          "16 dimensions");
  EXPECT_TRUE(open("{}", "")->tensors().empty());
}

TEST_F(Safetensors, HugeAndDeepHeadersAreRefused) {
  for (const uint64_t length : {uint64_t{9}, uint64_t{1} << 20, uint64_t{1} << 40, ~uint64_t{0}, ~uint64_t{0} - 7}) {
    std::string bytes(sizeof(length), '\0');
    std::memcpy(bytes.data(), &length, sizeof(length));
    expect_error(MOSHI_ERR_FORMAT, std::to_string(length),
                 [&] { SafetensorsFile::open(dir_.write("huge", bytes + "{}      ")); });
  }
  const std::string deep(2000000, '[');
  refused(deep, "", "list");
  refused(R"({"t":{"dtype":"U8","shape":)" + deep, "", "list");
  refused(R"({"t":{"dtype":"U8","shape":[)" + deep, "", "list");
  std::string objects;
  for (int i = 0; i < 300000; ++i) objects += R"({"a":)";
  refused(objects, "", "unknown key");
}

TEST_F(Safetensors, NamesInMessagesAreHarmless) {
  const std::string name = "\\u0007\\n" + std::string(5000, 'x');
  try {
    open("{\"" + name + R"(":{"dtype":"U8","shape":[4]}})", "");
    ADD_FAILURE();
  } catch (const moshi::Error& e) {
    const std::string message = e.what();
    EXPECT_LT(message.size(), 600u);
    for (const char c : message) EXPECT_GE(c, ' ');
  }
}

TEST_F(Safetensors, FilesThatCannotBeRead) {
  expect_error(MOSHI_ERR_NOT_FOUND, "missing.safetensors",
               [&] { SafetensorsFile::open(dir_ / "missing.safetensors"); });
  expect_error(MOSHI_ERR_READ, "not a regular file", [&] { SafetensorsFile::open(dir_.str()); });
  const std::string pipe = dir_ / "pipe";
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  expect_error(MOSHI_ERR_READ, "not a regular file", [&] { SafetensorsFile::open(pipe); });
  expect_error(MOSHI_ERR_FORMAT, "empty", [&] { SafetensorsFile::open(dir_.write("empty", "")); });
}

}  // namespace
