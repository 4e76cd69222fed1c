#!/bin/bash
# One night under cron or systemd: answers, edits, corrupted images, adapter, evaluation, gate. Goes on with an unfinished night.
# Usage: nightly.sh FOLDER     (docs/how-to/cron.md)
#
# FOLDER holds cases.jsonl and test.jsonl, both with an end record, medpo.toml, and gate.toml with the bounds that an
# adapter must keep. Each night has a folder of its own, FOLDER/nights/DATE, with records, adapter, page and night.log.
# FOLDER/current leads to the adapter that passed the gate last; nothing else ever moves it.
#
# Ends with one line: on standard output if all is well, else on standard error. Exit codes are medpo's own:
#   0 promoted    3 finished, but records were rejected or the gate did not open (the line says which)
#   73, 74 disk   75 another night is running, or time is up: the next one goes on    128+n ended by a signal    others: medpo's
set -euo pipefail
umask 077
export HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 HF_DATASETS_OFFLINE=1

keep=${NIGHT_KEEP:-7}                             # finished nights that stay, besides the promoted one
sample_minutes=${NIGHT_SAMPLE_MINUTES:-240}
align_minutes=${NIGHT_ALIGN_MINUTES:-360}
least_mib=${NIGHT_LEAST_MIB:-2048}                # no night begins with less free space
lock=${NIGHT_LOCK:-gpu}                           # shared with other users of the card: medpo STAGE --lock gpu

finish() { # CODE TEXT: the last line, where cron and the log find it
    local text="nightly: $2"
    if [[ -n ${night:-} && -d ${night:-} ]]; then
        echo "$(date -u +%FT%T+00:00) $text (exit $1)" >> "$night/night.log" || true
    fi
    if (($1 == 0)); then echo "$text"; else echo "$text" >&2; fi
    exit "$1"
}

child='' ended=
# shellcheck disable=SC2329  # the traps call it
end() { # CODE: medpo saves its state on TERM; bash alone would die and leave it running
    ended=$1
    if [[ -n $child ]]; then kill -TERM "$child" 2> /dev/null || true; fi
}
trap 'end 129' HUP
trap 'end 130' INT
trap 'end 143' TERM

run() { # WORDS...: medpo in this night's folder; its exit code is left in $code
    code=0
    [[ -z $ended ]] || finish "$ended" "ended by a signal; the next night goes on in ${night##*/}"
    medpo "$@" --root . --require-end --quiet --log-file "$night/night.log" 2>> "$night/stderr.log" &
    child=$!
    [[ -z $ended ]] || kill -TERM "$child" 2> /dev/null || true   # it came while the stage was being started
    wait "$child" || code=$?
    while kill -0 "$child" 2> /dev/null; do   # a signal ends the wait before the child has saved its state
        code=0
        wait "$child" || code=$?
    done
    child=''
}

step() { # OUTPUT STAGE WORDS...: unless an earlier try has finished it; a file or adapter has its name only when whole
    local output=$night/$1 stage=$2
    [[ ! -e $output ]] || return 0
    run "$stage" "${@:3}" -o "$output"
    case $code in
        0 | 3) ;;
        2 | 65 | 66 | 70 | 78) # no use in going on with this night: the next one begins afresh
            echo failed > "$night/state"
            finish "$code" "$stage failed (exit $code): $(cause)" ;;
        *) finish "$code" "$stage stopped (exit $code): $(cause); the next night goes on in ${night##*/}" ;;
    esac
}

cause() { # what medpo said last; its messages never hold words of records
    { grep -h '^medpo ' "$night/stderr.log" || tail -n 1 "$night/stderr.log"; } 2> /dev/null | tail -n 1
}

rejected() { # how many records this night's stages left out
    cat "$night"/*.rejects.jsonl 2> /dev/null | grep -c '"schema":"medpo.reject/1"' || true
}

fingerprint() { # of what a night is made from: if it has changed, an unfinished night is not gone on with
    { medpo --version; sha256sum -- cases.jsonl test.jsonl medpo.toml gate.toml; } 2> /dev/null
}

choose() { # the newest night if it is unfinished and made from the same, else a new one
    night=$(find nights -mindepth 1 -maxdepth 1 -type d -name '2*Z' | sort | tail -n 1)
    if [[ -n $night && ! -e $night/state ]]; then
        if [[ $(fingerprint) == "$(cat "$night/made-from" 2> /dev/null)" ]]; then
            again="goes on; "
            return
        fi
        echo abandoned > "$night/state"
    fi
    night=nights/$(date -u +%Y-%m-%dT%H%M%SZ)
    mkdir "$night" && fingerprint > "$night/made-from"
}

prune() { # finished nights beyond the newest $keep; never the promoted, never an unfinished one
    local promoted old
    promoted=$(readlink current || true)
    find nights -mindepth 2 -maxdepth 2 -name state | sort -r | tail -n +$((keep + 1)) | while read -r old; do
        if [[ $promoted != "${old%/state}/"* ]]; then rm -rf -- "${old%/state}"; fi
    done
}

[[ $# -eq 1 ]] || finish 2 "usage: nightly.sh FOLDER"
cd "$1" 2> /dev/null || finish 66 "no such folder"
command -v medpo > /dev/null || finish 69 "medpo is not in PATH (cron's is short: set it in the crontab)"
for name in cases.jsonl test.jsonl medpo.toml gate.toml; do
    [[ -r $name ]] || finish 66 "$name is missing in the folder"
done
mkdir -p nights 2> /dev/null || finish 73 "the folder nights cannot be made"
# The lock covers the whole night and dies with its last process, also after kill -9.
{ exec 9> nights/.lock; } 2> /dev/null || finish 73 "the lock cannot be made"
flock -n 9 || finish 75 "another night is running in this folder; nothing done"
prune
free=$(df --output=avail -BM . | tail -n 1 | tr -dc 0-9)
((free >= least_mib)) || finish 74 "the disk is nearly full: $free MiB free, $least_mib wanted; nothing begun"
again='' code=0
choose || finish 73 "this night's folder cannot be made"

step samples.jsonl sample cases.jsonl --resume --lock "$lock" --max-minutes "$sample_minutes"
step pairs.jsonl edit "$night/samples.jsonl" --force
step pairs.v.jsonl corrupt "$night/pairs.jsonl" --force
step adapter align "$night/pairs.v.jsonl" --resume --lock "$lock" --max-minutes "$align_minutes" >> "$night/steps.jsonl"
step test.v.jsonl corrupt test.jsonl --force
rm -f "$night/scores.jsonl"   # of a try that was killed before it could say what the gate said
# Only 0 opens the gate: 3 is a bound that fails, or test cases left out, whose numbers could not be compared.
step scores.jsonl eval "$night/test.v.jsonl" --adapter "$night/adapter" --gate gate.toml --lock "$lock" --force \
    --html "$night/report.html"
passed=$code

lost=$(rejected)
also="; $lost records rejected, see $night/*.rejects.jsonl"
((lost > 0)) || also=
if ((passed != 0)); then
    echo held > "$night/state"
    bounds=$(grep -h '^medpo eval: error: gate: ' "$night/stderr.log" | sed 's/^medpo eval: error: //' | sort -u | paste -sd '|' || true)
    prune
    finish 3 "${again}not promoted: ${bounds:-test cases were rejected}$also"
fi
ln -sfn "$night/adapter" .current.new
mv -T .current.new current   # one rename: a reader finds the old adapter or the new one
echo promoted > "$night/state"
prune
((lost == 0)) || finish 3 "${again}promoted ${night##*/}$also"
finish 0 "${again}promoted ${night##*/}"
