// SPDX-License-Identifier: MIT
// Stops pipelines where nobody waits for it: a streaming thread may be in a step of the model that takes long.
#pragma once

#include <functional>

namespace server::reaper {

/// Runs `work` on a thread of its own pool.
void run(std::function<void()> work);

/// Calls `done` on the default GMainContext when all work that was given before it has been done. Thread of that
/// context.
void after(std::function<void()> done);

/// Waits until all work has been done. Before main() returns: what is being stopped needs the libraries.
void wait();

}  // namespace server::reaper
