#!/usr/bin/env bash
# A command of the package in several processes, one for each GPU, started by torchrun.
set -euo pipefail
. "$(dirname "${BASH_SOURCE[0]}")/torchrun.sh"

check_usage "usage: tools/dist_run.sh VERB [arguments of VERB ...] GPUS

  VERB  extract-features, cluster, calibrate, route, evaluate or transfer, as of mmssl-dynamic
  GPUS  processes on this machine, one for each GPU

$environment" "$@"

verb=$1
gpus=${*: -1}
set -- "${@:2:$#-2}"
start "GPUS, the last argument," "$gpus" -m mmssl_dynamic "$verb" "$@" --launcher pytorch
