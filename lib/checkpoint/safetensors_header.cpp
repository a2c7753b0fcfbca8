// SPDX-License-Identifier: MIT
#include "checkpoint/safetensors_header.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <utility>

#include "common/error.h"

namespace moshi::checkpoint {
namespace {

struct DtypeInfo {
  Dtype dtype;
  const char* name;
  size_t bytes;
};
constexpr DtypeInfo kDtypes[] = {{Dtype::kBool, "BOOL", 1}, {Dtype::kU8, "U8", 1},   {Dtype::kI8, "I8", 1},
                                 {Dtype::kI16, "I16", 2},   {Dtype::kU16, "U16", 2}, {Dtype::kF16, "F16", 2},
                                 {Dtype::kBF16, "BF16", 2}, {Dtype::kI32, "I32", 4}, {Dtype::kU32, "U32", 4},
                                 {Dtype::kF32, "F32", 4},   {Dtype::kF64, "F64", 8}, {Dtype::kI64, "I64", 8},
                                 {Dtype::kU64, "U64", 8}};

constexpr size_t kMaxDimensions = 16;
constexpr size_t kMaxTensors = 100000;  // hundreds of times what any model here has
constexpr size_t kMaxShownName = 120;

// Escaped to ASCII: a hostile name must not write control characters or half a character into a message.
std::string shown(std::string_view name) {
  const bool cut = name.size() > kMaxShownName;
  if (!cut) return nlohmann::json(name).dump(-1, ' ', true);
  const std::string_view part = name.substr(0, kMaxShownName);
  return nlohmann::json(part).dump(-1, ' ', true, nlohmann::json::error_handler_t::replace) + "...";
}

/// Builds the header while the text is parsed: nothing deeper or other than the format allows is ever stored, and
/// names that occur twice are seen (a parsed document would silently keep one of them).
class HeaderBuilder : public nlohmann::json_sax<nlohmann::json> {
 public:
  SafetensorsHeader header;
  std::string problem;
  std::string unknown_dtype;

  bool null() override { return fail("a null value"); }
  bool boolean(bool) override { return fail("a boolean value"); }
  bool number_integer(number_integer_t) override { return fail("a negative number"); }
  bool number_float(number_float_t, const string_t&) override { return fail("a number that is no 64-bit integer"); }
  bool binary(binary_t&) override { return fail("a binary value"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ == Place::kShape) {
      if (value > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) return fail("a size above 2^63 - 1");
      if (entry_.shape.size() == kMaxDimensions) return fail("more than 16 dimensions");
      entry_.shape.push_back(static_cast<int64_t>(value));
      return true;
    }
    if (place_ == Place::kOffsets) {
      if (offsets_.size() == 2) return fail("more than two data_offsets");
      offsets_.push_back(value);
      return true;
    }
    return fail("a number where none belongs");
  }

  bool string(string_t& value) override {
    if (place_ == Place::kMetadata) {
      if (!header.metadata.emplace(key_, value).second) return fail("a metadata key twice");
      return true;
    }
    if (place_ != Place::kTensor || key_ != "dtype") return fail("a string where none belongs");
    for (const DtypeInfo& info : kDtypes) {
      if (value != info.name) continue;
      dtype_ = info.dtype;
      return true;
    }
    unknown_dtype = shown(value);
    return fail("an unknown dtype");
  }

  bool start_object(size_t) override {
    if (place_ == Place::kStart) {
      place_ = Place::kTop;
      return true;
    }
    if (place_ != Place::kTop) return fail("an object where none belongs");
    place_ = name_ == "__metadata__" ? Place::kMetadata : Place::kTensor;
    seen_.clear();
    dtype_.reset();
    entry_ = {};
    offsets_.clear();
    return true;
  }

  bool key(string_t& value) override {
    if (place_ == Place::kTop) {
      name_ = value;
      const bool twice = value == "__metadata__" ? std::exchange(has_metadata_, true) : header.tensors.contains(value);
      return twice ? fail("a name twice") : true;
    }
    key_ = value;
    if (place_ == Place::kMetadata) return true;
    if (std::find(seen_.begin(), seen_.end(), value) != seen_.end()) return fail("a key twice");
    seen_.push_back(value);
    if (value == "dtype" || value == "shape" || value == "data_offsets") return true;
    return fail("an unknown key");
  }

  bool end_object() override {
    if (place_ == Place::kTop) {
      place_ = Place::kEnd;
      return true;
    }
    if (place_ == Place::kTensor) {
      if (seen_.size() != 3 || !dtype_ || offsets_.size() != 2) return fail("not all of dtype, shape and data_offsets");
      if (header.tensors.size() == kMaxTensors) return fail("too many tensors");
      entry_.dtype = *dtype_;
      entry_.begin = offsets_[0];
      entry_.end = offsets_[1];
      header.tensors.emplace(name_, std::move(entry_));
    }
    place_ = Place::kTop;
    return true;
  }

  bool start_array(size_t) override {
    if (place_ != Place::kTensor || key_ == "dtype") return fail("a list where none belongs");
    place_ = key_ == "shape" ? Place::kShape : Place::kOffsets;
    return true;
  }

  bool end_array() override {
    place_ = Place::kTensor;
    return true;
  }

  bool parse_error(size_t position, const std::string&, const nlohmann::json::exception&) override {
    problem = "its header is not valid JSON at byte " + std::to_string(position);
    return false;
  }

 private:
  enum class Place { kStart, kTop, kMetadata, kTensor, kShape, kOffsets, kEnd };

  bool fail(const char* what) {
    problem = "its header has " + std::string(what);
    if (place_ != Place::kStart) problem += " at " + shown(name_);
    return false;
  }

  Place place_ = Place::kStart;
  std::string name_;
  std::string key_;
  bool has_metadata_ = false;
  std::vector<std::string> seen_;
  std::optional<Dtype> dtype_;
  HeaderEntry entry_;
  std::vector<uint64_t> offsets_;
};

[[noreturn]] void damaged(const std::string& path, const std::string& what) {
  throw Error(MOSHI_ERR_FORMAT, "\"" + path + "\" is damaged or no safetensors file: " + what);
}

void check_size(const std::string& path, const std::string& name, const HeaderEntry& entry) {
  uint64_t bytes = dtype_bytes(entry.dtype);
  for (const int64_t size : entry.shape) {
    if (__builtin_mul_overflow(bytes, static_cast<uint64_t>(size), &bytes)) {
      damaged(path, "the shape of tensor " + shown(name) + " has more elements than 64 bits can count");
    }
  }
  if (entry.end < entry.begin || entry.end - entry.begin != bytes) {
    damaged(path, "tensor " + shown(name) + " has data_offsets [" + std::to_string(entry.begin) + ", " +
                      std::to_string(entry.end) + "], but its shape and dtype need " + std::to_string(bytes) +
                      " bytes");
  }
}

void check_layout(const std::string& path, const SafetensorsHeader& header, uint64_t data_bytes) {
  using Named = std::pair<const std::string, HeaderEntry>;
  std::vector<const Named*> order;
  for (const Named& named : header.tensors) {
    check_size(path, named.first, named.second);
    if (named.second.end > data_bytes) {
      damaged(path, "tensor " + shown(named.first) + " ends at byte " + std::to_string(named.second.end) +
                        " of the data, of which there are " + std::to_string(data_bytes) +
                        "; the file may be truncated: fetch it again");
    }
    order.push_back(&named);
  }
  std::sort(order.begin(), order.end(), [](const Named* a, const Named* b) {
    return std::pair(a->second.begin, a->second.end) < std::pair(b->second.begin, b->second.end);
  });
  uint64_t at = 0;
  for (const Named* named : order) {
    if (named->second.begin != at) {
      damaged(path, "tensor " + shown(named->first) + " begins at byte " + std::to_string(named->second.begin) +
                        " of the data, where the one before it ends at " + std::to_string(at));
    }
    at = named->second.end;
  }
  if (at != data_bytes) {
    damaged(path, std::to_string(data_bytes - at) + " bytes follow the last tensor");
  }
}

}  // namespace

size_t dtype_bytes(Dtype dtype) {
  for (const DtypeInfo& info : kDtypes) {
    if (info.dtype == dtype) return info.bytes;
  }
  return 0;
}

const char* dtype_name(Dtype dtype) {
  for (const DtypeInfo& info : kDtypes) {
    if (info.dtype == dtype) return info.name;
  }
  return "?";
}

SafetensorsHeader parse_safetensors_header(std::string_view text, uint64_t data_bytes, const std::string& path) {
  HeaderBuilder builder;
  if (!nlohmann::json::sax_parse(text, &builder)) {
    if (!builder.unknown_dtype.empty()) {
      throw Error(MOSHI_ERR_NOT_SUPPORTED, "\"" + path + "\" has tensors of type " + builder.unknown_dtype +
                                               ", which cannot be read; use a checkpoint in F32, BF16 or F16");
    }
    damaged(path, builder.problem);
  }
  check_layout(path, builder.header, data_bytes);
  return std::move(builder.header);
}

}  // namespace moshi::checkpoint
