#!/usr/bin/env bash
# Everything that only a card can show, in one command of at most twenty minutes on an H100.
set -euo pipefail

usage="usage: tools/gpu_acceptance.sh [--dry-run] [OUT]

  OUT        folder for acceptance.json, acceptance.md and what each part printed (default: work_dirs/gpu_acceptance)
  --dry-run  the same on the CPU at tiny sizes, to see that everything runs; its figures mean nothing

Environment: PYTHON (python)."

if [ "${1-}" = "-h" ] || [ "${1-}" = "--help" ]; then
  echo "$usage"
  exit 0
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."
exec "${PYTHON:-python}" tools/benchmarks/acceptance.py "$@"
