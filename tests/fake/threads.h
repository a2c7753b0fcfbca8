// SPDX-License-Identifier: MIT
// The fake core's threads. They are owned here and not by what runs on them, so that a model can be freed on its own
// thread; the process joins them all before it ends, so that checkers see no thread leak.
#pragma once

#include <functional>

namespace moshi_fake {

/** Starts a thread and returns its number. `stop` is called, if it still runs, when the process exits. */
int StartThread(std::function<void()> body, std::function<void()> stop);
/** Waits until the thread has ended. Not from the thread itself. */
void JoinThread(int number);
/** Waits for threads that were told to end and not joined. */
void JoinAbandonedThreads();
/** The thread will end by itself. */
void AbandonThread(int number);

}  // namespace moshi_fake
