#!/usr/bin/env bash
# A command of the package in several processes, one for each GPU, started by torchrun.
set -euo pipefail

usage="usage: tools/dist_run.sh VERB [arguments of VERB ...] GPUS

  VERB  extract-features, calibrate, route or evaluate, as of mmssl-dynamic
  GPUS  processes on this machine, one for each GPU

Environment: NNODES (machines, 1), NODE_RANK (which machine this is, 0), MASTER_ADDR (the first machine, 127.0.0.1),
PORT (a free port on it, 29500), TORCHRUN (the launcher, torchrun)."

if [ "${1-}" = "-h" ] || [ "${1-}" = "--help" ]; then
  echo "$usage"
  exit 0
fi
if [ $# -lt 2 ]; then
  echo "$usage" >&2
  exit 2
fi
verb=$1
gpus=${*: -1}
set -- "${@:2:$#-2}"

case $gpus in
  '' | *[!0-9]* | 0)
    echo "error: GPUS, the last argument, must be a positive whole number, not '$gpus'" >&2
    exit 2
    ;;
esac
launcher=${TORCHRUN:-torchrun}
if ! command -v "$launcher" >/dev/null 2>&1; then
  echo "error: '$launcher' not found: activate the environment that holds torch, or set TORCHRUN to its torchrun" >&2
  exit 2
fi

exec "$launcher" \
  --nnodes="${NNODES:-1}" \
  --node_rank="${NODE_RANK:-0}" \
  --master_addr="${MASTER_ADDR:-127.0.0.1}" \
  --master_port="${PORT:-29500}" \
  --nproc_per_node="$gpus" \
  -m mmssl_dynamic "$verb" "$@" --launcher pytorch
