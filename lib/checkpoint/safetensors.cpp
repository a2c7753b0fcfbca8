// SPDX-License-Identifier: MIT
#include "checkpoint/safetensors.h"

#include <bit>
#include <cstring>

#include "checkpoint/digest.h"
#include "checkpoint/mapped_file.h"
#include "checkpoint/safetensors_header.h"
#include "common/error.h"
#include "kernels/half.h"

namespace moshi::checkpoint {
namespace {

static_assert(std::endian::native == std::endian::little, "safetensors data is little-endian");

constexpr uint64_t kLengthBytes = 8;                       // of the header length in front of the header
constexpr uint64_t kMaxHeaderBytes = uint64_t{100} << 20;  // the format's own limit

// The data may lie at any address, hence the copies.
template <class Stored, class Convert>
std::vector<float> convert(std::span<const std::byte> data, Convert to_float) {
  std::vector<float> values(data.size() / sizeof(Stored));
  for (size_t i = 0; i < values.size(); ++i) {
    Stored stored;
    std::memcpy(&stored, data.data() + i * sizeof(Stored), sizeof(Stored));
    values[i] = to_float(stored);
  }
  return values;
}

class MappedSafetensors final : public SafetensorsFile {
 public:
  explicit MappedSafetensors(const std::string& path) : file_(path, MappedFile::Mode::kMap) {
    const std::span<const std::byte> all = file_.data();
    if (all.size() < kLengthBytes) damaged("it has only " + std::to_string(all.size()) + " bytes");
    uint64_t header_bytes = 0;
    std::memcpy(&header_bytes, all.data(), kLengthBytes);
    if (header_bytes > kMaxHeaderBytes || header_bytes > all.size() - kLengthBytes) {
      damaged("its header would have " + std::to_string(header_bytes) + " bytes, the whole file has " +
              std::to_string(all.size()));
    }
    const std::span<const std::byte> data = all.subspan(kLengthBytes + header_bytes);
    const std::string_view text(reinterpret_cast<const char*>(all.data()) + kLengthBytes, header_bytes);
    SafetensorsHeader header = parse_safetensors_header(text, data.size(), path);
    metadata_ = std::move(header.metadata);
    for (auto& [name, entry] : header.tensors) {
      tensors_.emplace(
          name, Tensor{name, entry.dtype, std::move(entry.shape), data.subspan(entry.begin, entry.end - entry.begin)});
    }
  }

  const std::string& path() const override { return file_.path(); }
  uint64_t file_bytes() const override { return file_.bytes(); }
  const std::map<std::string, Tensor, std::less<>>& tensors() const override { return tensors_; }
  const std::map<std::string, std::string>& metadata() const override { return metadata_; }
  void drop(const Tensor& tensor) const override { file_.drop(tensor.data); }
  std::string sha256(const std::function<void()>& check) const override { return sha256_of(file_, check); }

 private:
  [[noreturn]] void damaged(const std::string& what) const {
    throw Error(MOSHI_ERR_FORMAT, "\"" + path() + "\" is damaged or no safetensors file: " + what);
  }

  MappedFile file_;
  std::map<std::string, Tensor, std::less<>> tensors_;
  std::map<std::string, std::string> metadata_;
};

}  // namespace

int64_t Tensor::elements() const {
  int64_t count = 1;
  for (const int64_t size : shape) count *= size;
  return count;
}

std::vector<float> Tensor::to_f32() const {
  switch (dtype) {
    case Dtype::kF32: {
      std::vector<float> values(data.size() / sizeof(float));
      if (!values.empty()) std::memcpy(values.data(), data.data(), data.size());
      return values;
    }
    case Dtype::kF16:
      return convert<uint16_t>(data, kernels::f16_to_f32);
    case Dtype::kBF16:
      return convert<uint16_t>(data, kernels::bf16_to_f32);
    case Dtype::kF64:
      return convert<double>(data, [](double v) { return static_cast<float>(v); });
    default:
      throw Error(MOSHI_ERR_NOT_SUPPORTED,
                  "Tensor \"" + name + "\" has type " + dtype_name(dtype) + ", not one of F32, F16, BF16 and F64");
  }
}

std::shared_ptr<const SafetensorsFile> SafetensorsFile::open(const std::string& path) {
  return std::make_shared<MappedSafetensors>(path);
}

}  // namespace moshi::checkpoint
