"""A program that scores reports, and the ways in which one can go wrong: ``python metrics.py MODE [STATE]``.

Good modes give the share of equal words (values), labels by letter, or an analysis. The bad ones misbehave before the
first line, or at a report that says BAD.
"""

import json
import os
import sys
import time

MODE = sys.argv[1]
HELLO = {"protocol": "medpo-metric/1", "name": "stub", "version": "1"}
LABELS = ["a", "b", "c"]


def say(line):
    print(json.dumps(line), flush=True)


def flags(text):
    return [int(label in text.lower().split()) for label in LABELS]


def answer(asked):
    if MODE == "labels":
        return {"answer": flags(asked["answer"]), "reference": flags(asked["reference"])}
    if MODE == "green":
        return {"analysis": asked["answer"]}
    ours, theirs = set(asked["answer"].split()), set(asked["reference"].split())
    return {"values": {"share": len(ours & theirs) / max(1, len(ours | theirs))}}


def misbehave(number, reply):
    if MODE == "crash":
        os._exit(3)
    if MODE == "hang":
        time.sleep(60)
    if MODE == "count":
        reply["values"]["more"] = 1.0
    if MODE == "other":
        reply["request"] += 1
    if MODE == "print":
        print("Some weights were not used", flush=True)
    if MODE == "nan":
        say({"request": number, "values": {"share": float("nan")}})
    if MODE == "infinite":
        print(json.dumps({"request": number, "values": {"share": 0}}).replace("0}", "1e999}"), flush=True)
    if MODE == "refuse":
        reply.pop("values")
        reply["error"] = True
    if MODE == "long":
        print("x" * 100000, flush=True)
    if MODE == "memory":
        reply["values"]["share"] = float(len(bytearray(2**30)) > 0)


def main():
    if MODE == "babble":
        print("Loading...", flush=True)
    if MODE == "early":
        sys.exit(1)
    if MODE == "missing":
        say({**HELLO, "missing": "weights"})
        return
    if MODE == "both":
        say({**HELLO, "values": ["share"], "labels": LABELS})
    if MODE == "version":
        HELLO["version"] = str(os.getpid())
    kind = {"labels": {"labels": LABELS, "subsets": {"two": LABELS[:2]}}, "green": {"analysis": "green"}}
    say({**HELLO, **kind.get(MODE, {"values": ["share"]})})
    for line in sys.stdin:
        asked = json.loads(line)
        reply = {"request": asked["request"], **answer(asked)}
        if "BAD" in asked["answer"]:
            misbehave(asked["request"], reply)
            if MODE == "version":
                os._exit(1)
        say(reply)


main()
