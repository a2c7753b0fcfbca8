// SPDX-License-Identifier: MIT
// Fills the Hugging Face cache with what a model needs and is not there, as the hub's own client would.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <string>

#include "moshi/core.h"

namespace moshi::checkpoint {

/// How long to be patient with a network.
struct FetchLimits {
  std::chrono::milliseconds connect{10'000};
  std::chrono::milliseconds stall{30'000};     ///< without a byte
  std::chrono::milliseconds first_pause{250};  ///< before the first retry; doubles with each
  std::chrono::milliseconds longest_pause{8'000};
  int retries = 5;  ///< in a row that bring nothing new
};

/// The members mean what they mean in ModelRequest, or with MOSHI_ROLE_LM in LmRequest.
struct FetchRequest {
  std::string model;
  std::string weights;                  ///< of Mimi, or with MOSHI_ROLE_LM of the language model
  std::string config, tokenizer, lora;  ///< the language model's
  uint32_t roles = 0;                   ///< MoshiRole bits
  FetchLimits limits;
};

/**
 * Bytes of the files being fetched that are there and that there are (0: not known yet), and the file that is coming.
 * Called on the thread of fetch_model(), about ten times a second, also while nothing comes. False cancels.
 */
using FetchProgress = std::function<bool(const std::string& file, uint64_t done, uint64_t total)>;

/**
 * Returns when find_model(), or find_language_model(), will find everything; asks the network for nothing if it does
 * already. Any number of these, and of the Python client, may run at once, in any processes: each file comes once.
 * Throws Error: what those two throw; CANCELLED; NOT_AUTHORIZED; NETWORK, after which another call goes on where this
 * one stopped; FORMAT if what came is not what the hub announced; READ if the cache cannot be written or is full.
 */
void fetch_model(const FetchRequest& request, const FetchProgress& progress);

}  // namespace moshi::checkpoint
