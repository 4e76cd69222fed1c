#!/bin/bash
# On-policy rounds: each samples from the adapter of the round before, and stops when little is left to correct.
# Usage: rounds.sh FOLDER [ROUNDS] [PER CENT]   (FOLDER with cases.jsonl, with an end record, and medpo.toml)
# Stops after ROUNDS (5), or once at most PER CENT (5) of the pairs correct the model. The last adapter is named at the end.
set -euo pipefail
cd "$1"
rounds=${2:-5} enough=${3:-5}
common=(--require-end --quiet --force)
# 3 means finished with some records rejected; every other code is the script's own.
step() { medpo "$@" "${common[@]}" || { code=$?; [ $code -eq 3 ] || exit $code; }; }
adapter=()
for ((round = 1; round <= rounds; round++)); do
    step sample cases.jsonl -o "round$round.samples.jsonl" "${adapter[@]}"
    step edit "round$round.samples.jsonl" -o "round$round.pairs.jsonl"
    all=$(grep -c '"schema":"medpo.pair/1"' "round$round.pairs.jsonl") || { echo "round $round: no pairs"; break; }
    corrected=$(grep -c '"origin":"corrected"' "round$round.pairs.jsonl" || true)
    echo "round $round: $corrected of $all pairs correct the model"
    if ((100 * corrected <= enough * all)); then break; fi
    step corrupt "round$round.pairs.jsonl" -o "round$round.pairs.v.jsonl"
    step align "round$round.pairs.v.jsonl" -o "round$round.adapter" "${adapter[@]}" > "round$round.steps.jsonl"
    adapter=(--adapter "round$round.adapter")
done
echo "adapter: ${adapter[1]:-none, the model was right from the start}"
