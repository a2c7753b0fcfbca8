#!/bin/sh
# SPDX-License-Identifier: MIT
# Compares the core and the elements with the reference, live: run.sh BUILD_DIR ORACLE_PYTHON
set -eu
if [ $# -ne 2 ]; then
  echo "usage: $0 BUILD_DIR ORACLE_PYTHON" >&2
  exit 2
fi
exec "$2" "$(dirname "$0")/run.py" "$1" "$2"
