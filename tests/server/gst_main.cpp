// SPDX-License-Identifier: MIT
// main() of the tests that use GStreamer.
#include <gst/gst.h>
#include <gtest/gtest.h>

#include "reaper.h"

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  gst_init(&argc, &argv);
  const int result = RUN_ALL_TESTS();
  server::reaper::wait();
  gst_deinit();  // so that the tracer of leaks speaks
  return result;
}
