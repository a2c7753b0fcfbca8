// SPDX-License-Identifier: MIT
//
// How near decoded speech is to the original:
//
//   moshi-quality [--delay SECONDS] ORIGINAL DECODED
//
// Both are sound files that GStreamer can decode. --delay says how much later DECODED says the same. Prints a line
// "stoi NUMBER" (intelligibility, up to 1) and a line "mel NUMBER" (difference of mel bands, dB).
// Exit status: 0 success, 1 an error, 2 wrong usage.
#include <gst/gst.h>

#include <cstdio>
#include <cstdlib>

#include "app.h"
#include "quality_files.h"

namespace {

bool judge(const char* original, const char* decoded, double delay) {
  const auto quality = app::judge(original, decoded, delay);
  if (!quality) return false;
  if (!quality->stoi) return app::fail("the two have less than 0.4 s of speech in common");
  printf("stoi %.4f\nmel %.2f\n", *quality->stoi, quality->mel);
  return true;
}

}  // namespace

int main(int argc, char** argv) {
  app::program = "quality";
  double delay = 0;
  const GOptionEntry entries[] = {
      {"delay", 'd', 0, G_OPTION_ARG_DOUBLE, &delay, "How much later DECODED is (default: 0)", "SECONDS"}, {}};
  constexpr const char* kParameters = "ORIGINAL DECODED - how near decoded speech is to the original";
  if (!app::parse_options(kParameters, nullptr, entries, &argc, &argv)) return 2;
  if (argc != 3 || !(delay >= 0 && delay < 1e6)) {
    app::fail("give two sound files, and a delay of 0 s or more; --help tells more");
    return 2;
  }
  return judge(argv[1], argv[2], delay) ? EXIT_SUCCESS : EXIT_FAILURE;
}
