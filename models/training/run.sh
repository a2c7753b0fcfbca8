#!/usr/bin/env bash
# SPDX-License-Identifier: MIT
#
# Makes the embedded models anew, or only measures them; `make train` and `make quality` call it, with the oracle's
# Python, after set-up.
#   run.sh PYTHON train      speech, codec (goes on from its checkpoint), export, language model, evaluation
#   run.sh PYTHON quality    speech and evaluation: rewrites docs/quality.md
# What is prepared and the checkpoints are kept in the cache folder, in training/; remove that folder to begin anew.
set -euo pipefail

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
python=$1
what=$2
embedded=$here/../embedded
work=${XDG_CACHE_HOME:-$HOME/.cache}/gst-moshi/training
PYTHONPATH=$("$here/../../.ci/setup" --path training)${PYTHONPATH:+:$PYTHONPATH}
export PYTHONPATH
export NO_TORCH_COMPILE=1
# The same large buffers come and go in every step: kept instead of given back, a step takes half of the time.
export MALLOC_MMAP_THRESHOLD_=4294967296 MALLOC_TRIM_THRESHOLD_=17179869184 MALLOC_TOP_PAD_=268435456

stage() {
  echo "== $*"
  "$python" "$here/$@"
}

case $what in
  train | quality) ;;
  *)
    echo "run.sh: unknown task '$what': train or quality" >&2
    exit 2
    ;;
esac
stage speech.py "$work/speech"
if [ "$what" = train ]; then
  stage train_mimi.py --speech "$work/speech" --work "$work/mimi"
  stage export.py --work "$work/mimi" --embedded "$embedded"
  stage parrot.py --speech "$work/speech" --embedded "$embedded"
fi
stage evaluate.py --speech "$work/speech" --embedded "$embedded"
