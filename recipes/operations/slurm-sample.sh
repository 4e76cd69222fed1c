#!/bin/bash
# Sampling as a Slurm array: each task answers its part of the cases, a last job puts the parts together, byte for byte.
#   job=$(sbatch --parsable --array=1-8 slurm-sample.sh FOLDER)
#   sbatch --dependency=afterok:$job slurm-sample.sh FOLDER merge
# FOLDER (on a disk that all nodes see) holds cases.jsonl, with an end record, and medpo.toml.
#SBATCH --job-name=medpo-sample
#SBATCH --gres=gpu:1
#SBATCH --cpus-per-task=8
#SBATCH --mem=64G
#SBATCH --time=04:10:00
#SBATCH --signal=TERM@300
#SBATCH --open-mode=append
set -euo pipefail
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1
cd "$1"

finish() { # 3: finished with rejects, which must not keep the jobs behind it from starting
    [[ $1 -ne 3 ]] || { echo "records were rejected: see *.rejects.jsonl" >&2; exit 0; }
    exit "$1"
}

code=0
if [[ ${2:-} == merge ]]; then
    parts=()
    for file in part-*-of-*.jsonl; do
        [[ $file == *.rejects.jsonl ]] || parts+=("$file")
    done
    medpo merge cases.jsonl "${parts[@]}" -o samples.jsonl || code=$?
    finish "$code"
fi
[[ ${SLURM_ARRAY_TASK_MIN:-1} -eq 1 ]] || { echo "parts count from 1: --array=1-N" >&2; exit 2; }
part=$SLURM_ARRAY_TASK_ID total=$SLURM_ARRAY_TASK_COUNT
medpo sample cases.jsonl -o "part-$part-of-$total.jsonl" --shard "$part/$total" --resume --require-end --quiet \
    --max-minutes 240 || code=$?
if [[ $code -eq 75 || $code -eq 143 ]]; then   # time is up, the state is saved: the same task again, which goes on
    scontrol requeue "${SLURM_ARRAY_JOB_ID}_$part"
fi
finish "$code"
