#!/usr/bin/env bash
# Pre-training on a Slurm cluster, one task for each GPU.
set -euo pipefail

usage="usage: tools/slurm_train.sh PARTITION JOB_NAME CONFIG WORK_DIR [arguments of tools/train.py ...]

Environment: GPUS (in all, 8), GPUS_PER_NODE (8, or GPUS where that is less), CPUS_PER_TASK (5), SRUN_ARGS (more for srun),
PYTHON (python)."

if [ "${1-}" = "-h" ] || [ "${1-}" = "--help" ]; then
  echo "$usage"
  exit 0
fi
if [ $# -lt 4 ]; then
  echo "$usage" >&2
  exit 2
fi
partition=$1
job_name=$2
config=$3
work_dir=$4
shift 4

gpus=${GPUS:-8}
gpus_per_node=${GPUS_PER_NODE:-$((gpus < 8 ? gpus : 8))}
if ! command -v srun >/dev/null 2>&1; then
  echo "error: srun not found: run this on a Slurm login node, or use tools/dist_train.sh" >&2
  exit 2
fi

# SRUN_ARGS is split into words on purpose.
# shellcheck disable=SC2086
exec srun \
  --partition="$partition" \
  --job-name="$job_name" \
  --gres="gpu:$gpus_per_node" \
  --ntasks="$gpus" \
  --ntasks-per-node="$gpus_per_node" \
  --cpus-per-task="${CPUS_PER_TASK:-5}" \
  --kill-on-bad-exit=1 \
  ${SRUN_ARGS:-} \
  "${PYTHON:-python}" -u "$(dirname "${BASH_SOURCE[0]}")/train.py" "$config" \
  --work-dir "$work_dir" --launcher slurm "$@"
