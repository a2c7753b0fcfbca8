// SPDX-License-Identifier: MIT
// The hub of the fake core.
#pragma once

#include <moshi/core.h>

#include <string_view>

namespace moshi_fake {

/** Whether the name is one of the hub's. */
bool IsHubId(std::string_view model);
bool IsFetched(std::string_view model);
void ForgetFetched();

/** The table's fetch(). */
MoshiStatus Fetch(const MoshiEngineConfig* config, MoshiFetchFn progress, void* user, MoshiError* error);

}  // namespace moshi_fake
