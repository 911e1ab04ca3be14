# What dist_train.sh and dist_run.sh have in common; they read it, it is no command.

environment="Environment: NNODES (machines, 1), NODE_RANK (which machine this is, 0), MASTER_ADDR (the first machine, 127.0.0.1),
PORT (a free port on it, 29500), TORCHRUN (the launcher, torchrun)."

# check_usage USAGE [arguments ...]: print it and end, where it is asked for or there are fewer than two arguments.
check_usage() {
  if [ "${2-}" = "-h" ] || [ "${2-}" = "--help" ]; then
    echo "$1"
    exit 0
  fi
  if [ $# -lt 3 ]; then
    echo "$1" >&2
    exit 2
  fi
}

# start NAME GPUS COMMAND ...: run a command in so many processes; NAME is what GPUS is called in messages.
start() {
  local name=$1 gpus=$2 launcher=${TORCHRUN:-torchrun}
  shift 2
  case $gpus in
    '' | *[!0-9]* | 0)
      echo "error: $name must be a positive whole number, not '$gpus'" >&2
      exit 2
      ;;
  esac
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
    "$@"
}
