#!/usr/bin/env bash
# Pre-training on several GPUs, one process each, started by torchrun.
set -euo pipefail
folder=$(dirname "${BASH_SOURCE[0]}")
. "$folder/torchrun.sh"

check_usage "usage: tools/dist_train.sh CONFIG GPUS [arguments of tools/train.py ...]

  CONFIG  a pre-training config
  GPUS    processes on this machine, one for each GPU

$environment" "$@"

config=$1
gpus=$2
shift 2
start GPUS "$gpus" "$folder/train.py" "$config" --launcher pytorch "$@"
