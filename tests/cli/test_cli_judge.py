"""``medpo eval --judge http`` as cron would run it, and ``--compare`` before a judge."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from conftest_cli import END, Run
from data.judges import DENIED, SIDE, TRUTH, JudgeStub, Say, always_first, garbage, perfect

ITEMS = 6


@pytest.fixture
def serve() -> Iterator[Callable[[Say], JudgeStub]]:
    made: list[JudgeStub] = []

    def start(say: Say) -> JudgeStub:
        made.append(JudgeStub(say))
        return made[-1]

    yield start
    for one in made:
        one.server.shutdown()
        one.server.server_close()


def samples(folder: Path, name: str, *answers: str) -> str:
    lines = []
    for number, answer in enumerate(answers):
        record = {
            "schema": "medpo.sample/1",
            "id": f"q{number}",
            "image": {"path": "x.png"},
            "prompt": "SECRET question?",
            "reference": TRUTH,
            "task": "report",
            "policy": {"model": "m", "digest": "0" * 64, "decoding": {}, "seed": 0},
            "responses": [{"text": answer, "logprob": -1.0, "tokens": 2, "finish": "stop"}],
        }
        lines.append(json.dumps(record) + "\n")
    (folder / name).write_text("".join(lines) + END)
    return name


def records(text: str, kind: str) -> list[dict[str, Any]]:
    return [one for one in map(json.loads, text.splitlines()) if one["schema"] == f"medpo.{kind}/1"]


@pytest.fixture
def runs(medpo: Run, folder: Path) -> Path:
    """Scores a (two right answers, two on the wrong side, two denials) and b (four right, two denials)."""
    samples(folder, "a.s.jsonl", TRUTH, TRUTH, SIDE, f"{SIDE} Heart normal.", DENIED, DENIED)
    samples(folder, "b.s.jsonl", TRUTH, TRUTH, TRUTH, TRUTH, DENIED, DENIED)
    for name in "ab":
        done = medpo("eval", f"{name}.s.jsonl", "-o", f"{name}.jsonl", "--bootstrap", "200")
        assert done.returncode == 0, done.stderr
    return folder


def words(stub: JudgeStub, *more: str) -> tuple[str, ...]:
    return ("--judge", "http", "--endpoint", stub.url, "--endpoint-model", "m", "--bootstrap", "200", *more)


def duel(stub: JudgeStub, *more: str) -> tuple[str, ...]:
    cases = ("--judge-cases", "a.s.jsonl", "--cache", "verdicts")
    return ("eval", "--compare", "a.jsonl", "b.jsonl", *words(stub, *cases, *more))


@pytest.mark.parametrize("cached", [True, False])
def test_a_dead_server_is_69_and_resume_makes_the_same_file(
    medpo: Run, folder: Path, serve: Callable[[Say], JudgeStub], cached: bool
) -> None:
    samples(folder, "s.jsonl", TRUTH, SIDE, DENIED, f"{TRUTH} Heart normal.", f"{SIDE} Heart normal.", DENIED + " ")
    stub = serve(perfect)
    whole = medpo("eval", "s.jsonl", *words(stub, "-o", "whole.jsonl", "--jobs", "1", "--cache", "c0"))
    assert whole.returncode == 0, whole.stderr
    asked = len(stub.bodies)
    assert asked == ITEMS

    stub.refuse_after, stub.refusal = asked + 3, 404  # at once; 503 would be waited for
    line = ("eval", "s.jsonl", *words(stub, "-o", "cut.jsonl", "--jobs", "1", *(("--cache", "c1") if cached else ())))
    dead = medpo(*line)
    assert dead.returncode == 69
    assert "the endpoint answers with status 404" in dead.stderr
    assert not (folder / "cut.jsonl").exists()
    assert len(records((folder / "cut.jsonl.part").read_text(), "score")) == 3

    stub.refuse_after = None
    before = len(stub.bodies)
    again = medpo(*line, "--resume")
    assert again.returncode == 0, again.stderr
    assert len(stub.bodies) - before == (ITEMS - 3 if cached else ITEMS), "kept verdicts are not asked for again"
    bodies = [
        (folder / name).read_text().rpartition('{"schema":"medpo.end/1"')[0] for name in ("cut.jsonl", "whole.jsonl")
    ]
    assert bodies[0] == bodies[1]
    kept = [*folder.glob("c?/*"), *folder.glob("*.run.json")]
    assert len(kept) == (2 if cached else 1) * ITEMS + 2
    written = "".join(path.read_text() for path in kept)
    assert "SECRET" not in whole.stderr + dead.stderr + again.stderr + written
    assert "effusion." not in whole.stderr + dead.stderr + again.stderr + written


def test_garbage_is_counted_on_the_table(medpo: Run, folder: Path, serve: Callable[[Say], JudgeStub]) -> None:
    samples(folder, "s.jsonl", TRUTH, SIDE)
    done = medpo("eval", "s.jsonl", *words(serve(garbage)))
    assert done.returncode == 0, done.stderr
    assert "judge: no verdict on 2 of 2 answers (reply-malformed: 2)" in done.stderr
    assert "reports without a verdict of the judge" in done.stderr
    assert "SECRET" not in done.stdout + done.stderr


def test_a_judge_that_reads_prefers_the_better_run(medpo: Run, runs: Path, serve: Callable[[Say], JudgeStub]) -> None:
    stub = serve(perfect)
    done = medpo(*duel(stub, "--declare", "report.judge_preferred,report.hallucination"))
    assert done.returncode == 0, done.stderr
    first, second, change = records(done.stdout, "summary")
    assert first["metrics"]["report.judge_preferred"]["value"] == 0.0
    assert second["metrics"]["report.judge_preferred"]["value"] == pytest.approx(1 / 3)
    found = change["metrics"]["report.judge_preferred"]
    assert found["n"] == ITEMS
    assert found["value"] == pytest.approx(1 / 3)
    assert found["p_holm"] >= found["p"] > 0
    judge = change["judge"]
    assert (judge["mode"], judge["asked"], judge["same"]) == ("pair", 4, 4)
    assert (judge["consistent"], judge["first"], judge["reported"]) == (1.0, 0.5, "judge-7b")
    assert [one["fairness"] for one in judge["wordings"]] == [0.0] * 5
    assert [one.get("chosen", False) for one in judge["wordings"]] == [True, False, False, False, False]
    assert judge["prompt_text"].startswith("You decide which of two")
    scores = records(done.stdout, "score")
    assert [one["id"] for one in scores] == [f"q{number}" for number in range(ITEMS)]
    assert scores[2]["ext"]["judge"]["orders"] == ["second", "first"]
    assert len(stub.bodies) == 5 * 2 * 2, "equal texts are not asked about; what was tried is not asked again"
    assert "SECRET" not in done.stdout + done.stderr
    again = medpo(*duel(serve(garbage), "--declare", "report.judge_preferred,report.hallucination"))
    assert again.stdout.rpartition("\n{")[0] == done.stdout.rpartition("\n{")[0], "from what is kept"


def test_a_judge_that_follows_places_prefers_nobody_and_is_named(
    medpo: Run, runs: Path, serve: Callable[[Say], JudgeStub]
) -> None:
    done = medpo(*duel(serve(always_first)))
    assert done.returncode == 0, done.stderr
    *_, change = records(done.stdout, "summary")
    assert change["metrics"]["report.judge_preferred"]["value"] == 0.0
    judge = change["judge"]
    assert (judge["consistent"], judge["first"]) == (0.0, 1.0)
    assert [one["fairness"] for one in judge["wordings"]] == [-0.5] * 5
    assert "0% of 2 pairs get one answer in both orders, 100% of replies prefer the first" in done.stderr
    assert "it follows the place, not the answers" in done.stderr


def test_the_fairest_wording_is_taken(medpo: Run, runs: Path, serve: Callable[[Say], JudgeStub]) -> None:
    """A judge that reads only where the instructions say that the place means nothing."""

    def swayed(asked: dict[str, Any], instructions: str) -> str | bytes:
        return (perfect if "says nothing about it" in instructions else always_first)(asked, instructions)

    done = medpo(*duel(serve(swayed)))
    judge = records(done.stdout, "summary")[-1]["judge"]
    assert judge["prompt"].startswith("pair-1c@")
    assert [one["fairness"] for one in judge["wordings"]] == [-0.5, -0.5, 0.0, -0.5, -0.5]
    assert judge["consistent"] == 1.0
    untried = medpo(*duel(serve(swayed), "--judge-fairness", "0"))
    judge = records(untried.stdout, "summary")[-1]["judge"]
    assert judge["prompt"].startswith("pair-1a@")
    assert "wordings" not in judge
    assert judge["consistent"] == 0.0


def test_a_pair_without_both_verdicts_counts_for_neither(
    medpo: Run, runs: Path, serve: Callable[[Say], JudgeStub]
) -> None:
    def moody(asked: dict[str, Any], text: str) -> str | bytes:
        return garbage(asked, text) if asked["first"].startswith(SIDE) else perfect(asked, text)

    done = medpo(*duel(serve(moody), "--judge-fairness", "0"))
    assert done.returncode == 0, done.stderr
    first, second, change = records(done.stdout, "summary")
    assert [one["metrics"]["report.judge_preferred"]["n"] for one in (first, second, change)] == [4, 4, 4]
    assert (change["judge"]["unparsed"], change["judge"]["reasons"]) == (2, {"reply-malformed": 2})
    assert "judge: no verdict in 2 of 4 replies" in done.stderr


@pytest.mark.parametrize(
    ("line", "code", "cause"),
    [
        (("--compare", "a.jsonl", "b.jsonl", "--judge", "http"), 2, "--judge-cases"),
        (("--compare", "a.jsonl", "b.jsonl", "--judge", "http", "--judge-cases", "a.s.jsonl"), 2, "--cache"),
        (("--compare", "a.jsonl", "b.jsonl", "--judge-cases", "a.s.jsonl"), 2, "--judge http"),
        (("a.s.jsonl", "--judge", "http", "--judge-cases", "a.s.jsonl"), 2, "--compare"),
        (("a.s.jsonl", "--judge", "http"), 78, "--endpoint"),
        (("a.s.jsonl", "--judge", "http", "--endpoint", "http://8.8.8.8/v1"), 78, "--allow-public-endpoint"),
    ],
)
def test_options_that_do_not_go_together(medpo: Run, runs: Path, line: tuple[str, ...], code: int, cause: str) -> None:
    done = medpo("eval", *line)
    assert (done.returncode, cause in done.stderr) == (code, True), done.stderr


def test_cases_that_do_not_fit(medpo: Run, runs: Path, serve: Callable[[Say], JudgeStub]) -> None:
    stub = serve(perfect)
    samples(runs, "few.jsonl", TRUTH)
    line = ("eval", "--compare", "a.jsonl", "b.jsonl", *words(stub, "--cache", "v", "--judge-cases"))
    few = medpo(*line, "few.jsonl")
    assert few.returncode == 65
    assert "5 items of the runs have no case of their task with a reference in few.jsonl" in few.stderr
    twice = (runs / "few.jsonl").read_text().replace(END, "")
    (runs / "twice.jsonl").write_text(twice * 2 + END)
    done = medpo(*line, "twice.jsonl")
    assert done.returncode == 65
    assert "twice" in done.stderr
    assert medpo(*line, "none.jsonl").returncode == 66
    assert not stub.bodies


def test_the_time_limit_holds_and_the_run_goes_on(medpo: Run, runs: Path, serve: Callable[[Say], JudgeStub]) -> None:
    line = duel(serve(perfect), "-o", "duel.jsonl")
    late = medpo(*line, "--max-minutes", "0.0000001")
    assert late.returncode == 75, late.stderr
    done = medpo(*line, "--resume")
    assert done.returncode == 0, done.stderr
    assert len(records((runs / "duel.jsonl").read_text(), "summary")) == 3
    assert os.stat(runs / "verdicts").st_mode & 0o777 == 0o700
