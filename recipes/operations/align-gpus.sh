#!/bin/bash
# Alignment on several GPUs of one machine (or under srun on one node), with medpo's own exit code instead of the launcher's.
# Usage: align-gpus.sh FOLDER [GPUS]   (FOLDER with pairs.v.jsonl, with an end record, and medpo.toml; default: all GPUs)
# Started again after --max-minutes (75) or a kill it goes on; always with the same number of GPUs. docs/how-to/many-gpus.md
set -euo pipefail
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1
cd "$1"
gpus=${2:-$(nvidia-smi --list-gpus | wc -l)}
launched=0
# The same with torchrun: torchrun --nproc_per_node "$gpus" --no-python medpo align ...
accelerate launch --multi_gpu --num_processes "$gpus" --main_process_port 0 --no_python \
    medpo align pairs.v.jsonl -o adapter --resume --require-end --quiet --max-minutes "${ALIGN_MINUTES:-0}" \
    >> steps.jsonl || launched=$?
# The launcher makes 1 of every code but 0; the manifest has medpo's own (null if it was killed).
code=$(sed -n 's/^  "exit_code": \([0-9]*\),*$/\1/p' adapter.run.json 2> /dev/null || true)
if [[ $launched -eq 0 ]]; then exit "${code:-0}"; fi
[[ -n $code && $code -ne 0 ]] || code=$launched   # it fell before medpo began or after it had ended
echo "align-gpus: medpo align ended with $code" >&2
exit "$code"
