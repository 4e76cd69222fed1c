#!/bin/bash
# One night: answers, edits, corrupted images, adapter, evaluation. Resumes what the last night left.
# Usage: nightly.sh FOLDER   (with cases.jsonl, test.jsonl, both with an end record, and medpo.toml in it)
set -euo pipefail
cd "$1"
common=(--require-end --quiet --log-file nightly.log)
# 3 means finished with some records rejected; every other code (75: go on the next night) is the script's own.
step() { medpo "$@" "${common[@]}" || { code=$?; [ $code -eq 3 ] || exit $code; }; }
step sample cases.jsonl -o samples.jsonl --resume --lock gpu --max-minutes 240
step edit samples.jsonl -o pairs.jsonl --force
step corrupt pairs.jsonl -o pairs.v.jsonl --force
step align pairs.v.jsonl -o adapter --resume --lock gpu --max-minutes 360 >> steps.jsonl
step corrupt test.jsonl -o test.v.jsonl --force
step eval --adapter adapter test.v.jsonl -o scores.jsonl --force --html report.html
