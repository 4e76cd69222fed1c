#!/bin/bash
# One night: answers, edits, corrupted images, adapter, evaluation. Resumes what the last night left.
# Usage: nightly.sh FOLDER   (with cases.jsonl, test.jsonl and medpo.toml in it)
set -euo pipefail
cd "$1"
common=(--require-end --quiet --log-file nightly.log)
medpo sample cases.jsonl -o samples.jsonl --resume --lock gpu --max-minutes 240 "${common[@]}" || [ $? -eq 3 ]
medpo edit samples.jsonl -o pairs.jsonl --force "${common[@]}" || [ $? -eq 3 ]
medpo corrupt pairs.jsonl -o pairs.v.jsonl --force "${common[@]}" || [ $? -eq 3 ]
medpo align pairs.v.jsonl -o adapter --resume --lock gpu --max-minutes 360 "${common[@]}" > steps.jsonl || [ $? -eq 3 ]
medpo corrupt test.jsonl -o test.v.jsonl --force "${common[@]}" || [ $? -eq 3 ]
medpo eval --adapter adapter test.v.jsonl -o scores.jsonl --force --html report.html "${common[@]}" || [ $? -eq 3 ]
