/* SPDX-License-Identifier: MIT
 *
 * The core from plain C, opened at run time: encodes raw audio from standard input, prints the codes of each frame as a
 * line of numbers, 80 ms after 80 ms.
 *
 *   ffmpeg -i speech.wav -f f32le -ac 1 -ar 24000 - | moshi-core-api-c build/lib/libmoshi-core.so DIRECTORY 8
 *
 * Exit status: 0 success, 1 an error, 2 wrong usage.
 */
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "moshi/core.h"

static const char usage[] =
    "usage: moshi-core-api-c LIBRARY MODEL CODEBOOKS < AUDIO\n"
    "  LIBRARY    libmoshi-core.so\n"
    "  MODEL      directory or hub id of the model; \"\": the embedded one\n"
    "  CODEBOOKS  how many codes to print for each frame, from 1 on\n"
    "  AUDIO      raw float32 samples, mono, at the model's rate\n";

static int fail(const MoshiError *error) {
  fprintf(stderr, "moshi-core-api-c: %s\n", error->message);
  if (error->detail[0]) fprintf(stderr, "  %s\n", error->detail);
  return 1;
}

/* The table of a core, or NULL after saying why. The library stays open until the process ends. */
static const MoshiCoreApi *open_core(const char *path) {
  MoshiCoreGetApiFn get_api = NULL;
  const MoshiCoreApi *api = NULL;
  void *library = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (!library) {
    fprintf(stderr, "moshi-core-api-c: cannot load %s: %s\n", path, dlerror());
    return NULL;
  }
  *(void **)&get_api = dlsym(library, MOSHI_CORE_GET_API_SYMBOL);
  if (get_api) api = get_api(MOSHI_CORE_ABI);
  if (!api) fprintf(stderr, "moshi-core-api-c: %s is not a moshi core of this program's version\n", path);
  return api;
}

/* Encodes frame after frame; a last one that is not whole is filled up with silence. */
static int encode(const MoshiCoreApi *api, MoshiSession *session, const MoshiEngineInfo *info, int codebooks) {
  const size_t samples = (size_t)info->frame_samples;
  MoshiError error = MOSHI_INIT(MoshiError);
  MoshiJob job = MOSHI_INIT(MoshiJob);
  float *pcm = calloc(samples, sizeof *pcm);
  uint16_t *codes = calloc((size_t)codebooks, sizeof *codes);
  size_t got = samples;
  int result = 0;

  if (!pcm || !codes) {
    fprintf(stderr, "moshi-core-api-c: no memory\n");
    result = 1;
  }
  job.kind = MOSHI_JOB_ENCODE;
  job.frames = 1;
  job.codebooks = codebooks;
  job.deadline_ns = MOSHI_NO_DEADLINE;
  job.pcm_in = pcm;
  job.codes_out = codes;
  while (!result && got == samples) {
    got = fread(pcm, sizeof *pcm, samples, stdin);
    if (got == 0) break;
    memset(pcm + got, 0, (samples - got) * sizeof *pcm);
    if (api->submit(session, &job, &error) || api->wait(session, &job, MOSHI_FOREVER, &error)) {
      result = fail(&error);
      break;
    }
    for (int k = 0; k < codebooks; ++k) printf("%s%d", k ? " " : "", codes[k]);
    printf("\n");
  }
  free(pcm);
  free(codes);
  return result;
}

static int run(const MoshiCoreApi *api, const char *model, int codebooks) {
  MoshiError error = MOSHI_INIT(MoshiError);
  MoshiEngineConfig config = MOSHI_INIT(MoshiEngineConfig);
  MoshiSessionConfig stream = MOSHI_INIT(MoshiSessionConfig);
  MoshiEngineInfo info = MOSHI_INIT(MoshiEngineInfo);
  MoshiEngine *engine = NULL;
  MoshiSession *session = NULL;
  int result;

  config.model = model;
  config.roles = stream.roles = MOSHI_ROLE_ENCODE;
  if (api->engine_open(&config, &engine, &error) || api->engine_wait(engine, MOSHI_FOREVER, &error) ||
      api->engine_info(engine, &info, &error) || api->session_open(engine, &stream, &session, &error)) {
    result = fail(&error);
  } else {
    result = encode(api, session, &info, codebooks);
  }
  api->session_close(session);
  api->engine_close(engine);
  return result;
}

int main(int argc, char **argv) {
  const MoshiCoreApi *api;
  int codebooks;
  if (argc == 2 && !strcmp(argv[1], "--help")) return fputs(usage, stdout) < 0;
  codebooks = argc == 4 ? atoi(argv[3]) : 0;
  if (codebooks < 1 || codebooks > 1024) return fputs(usage, stderr), 2;
  api = open_core(argv[1]);
  return api ? run(api, argv[2], codebooks) : 1;
}
