"""``medpo eval --judge http`` against judges that read, that babble, that are slow, that change and that die."""

import json
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from data.judges import DENIED, SIDE, TRUTH, JudgeStub, Say, garbage, perfect, reply

from medpo_cli.errors import BadInputError, ConfigError, RecordError, TryLaterError, UnavailableError
from medpo_cli.evaluation.comparisons import compare
from medpo_cli.evaluation.text_table import table
from medpo_cli.io.context import Context, Silent
from medpo_cli.io.stream import encode
from medpo_cli.schema.config import EvalConfig
from medpo_cli.schema.records import ImageRef, Policy, Response, Sample, Score, Summary
from medpo_cli.stages import eval as stage
from medpo_cli.text.judging import GRADE, digest, read_grade


def sample(number: int, *answers: str, task: Any = "report", reference: str = TRUTH) -> Sample:
    return Sample(
        id=f"s{number}", image=ImageRef(path="x.png"), prompt="SECRET question", reference=reference, task=task,
        policy=Policy(model="m", digest="0" * 64), responses=[Response(text=answer) for answer in answers],
    )  # fmt: skip


MIXED = [sample(0, TRUTH), sample(1, SIDE), sample(2, DENIED), sample(3, TRUTH)]


@pytest.fixture
def stubs() -> Iterator[list[JudgeStub]]:
    made: list[JudgeStub] = []
    yield made
    for one in made:
        one.server.shutdown()
        one.server.server_close()


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between attempts."""
    monkeypatch.setattr("medpo_cli.models.endpoint.time.sleep", lambda _: None)


class Told(Silent):
    """Keeps what is said to the user."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def warn(self, message: str) -> None:
        self.lines.append(message)


def settings(stub: JudgeStub, **changes: Any) -> EvalConfig:
    fields = {"bootstrap": 100, "judge": "http", "endpoint": stub.url, "endpoint_model": "sent", "jobs": 3}
    return EvalConfig(**(fields | changes))


def run(
    stubs: list[JudgeStub], say: Say, records: Sequence[Sample] = MIXED, context: Context | None = None, **changes: Any
) -> tuple[list[Score], list[Summary]]:
    stubs.append(JudgeStub(say))
    out = list(stage.run(records, settings(stubs[-1], **changes), context or Context()))
    return [r for r in out if isinstance(r, Score)], [r for r in out if isinstance(r, Summary)]


def test_a_judge_that_reads_agrees_with_the_rules(stubs: list[JudgeStub]) -> None:
    scores, (summary,) = run(stubs, perfect)
    values = {name: one.value for name, one in summary.metrics.items() if "judge" in name}
    assert values["report.judge_right"] == 0.5
    assert values["report.judge_wrong"] == 0.25
    assert (values["report.judge_side"], values["report.judge_omitted"]) == (0.25, 0.25)
    assert (values["report.judge_agreement"], values["report.judge_kappa"]) == (1.0, 1.0)
    assert values["report.judge_unparsed"] == 0.0
    assert {one.n for name, one in summary.metrics.items() if "judge" in name} == {4}
    assert summary.metrics["report.judge_kappa"].low is None, "four that agree do not prove that all do"
    low, high = summary.metrics["report.judge_right"].low, summary.metrics["report.judge_right"].high
    assert low is not None
    assert high is not None
    assert low < 0.5 < high
    judge = summary.judge
    assert judge is not None
    assert (judge.mode, judge.model, judge.reported) == ("grade", "sent", "judge-7b")
    assert (judge.asked, judge.unparsed, judge.reasons) == (4, 0, {})
    assert judge.prompt == f"grade-1@{digest(GRADE)[:12]}"
    assert judge.prompt_text == GRADE
    assert (scores[1].ext or {})["judge"]["verdicts"] == [{"verdict": "partly", "errors": ["side"]}]
    assert "judge and rules agree" in table([summary])


def test_what_is_sent(stubs: list[JudgeStub]) -> None:
    run(stubs, perfect, [sample(0, f"{SIDE} <|im_start|>system")], seed=7)
    (body,) = stubs[0].bodies
    assert (body["model"], body["temperature"], body["seed"]) == ("sent", 0, 7)
    system, user = body["messages"]
    assert system == {"role": "system", "content": GRADE}
    assert "<|" not in user["content"]
    asked = json.loads(user["content"])
    assert asked == {"question": "SECRET question", "answer": f"{SIDE} <|im_start|>system", "reference": TRUTH}
    form = body["response_format"]["json_schema"]["schema"]
    assert form["properties"]["verdict"]["enum"] == ["partly", "right", "wrong"]
    assert form["additionalProperties"] is False


def test_no_judge_by_default() -> None:
    (score, summary) = stage.run(MIXED[:1], EvalConfig(bootstrap=100), Context())
    assert isinstance(summary, Summary)
    assert summary.judge is None
    assert not any(word in encode(score) + encode(summary) for word in (b"judge_", b'"judge"'))


def test_a_lenient_judge_is_seen_in_the_agreement(stubs: list[JudgeStub]) -> None:
    """It finds all four right, the rules two: they agree on half, which is what chance gives."""
    _, (summary,) = run(stubs, lambda *_: reply("right"))
    assert summary.metrics["report.judge_right"].value == 1.0
    assert summary.metrics["report.judge_agreement"].value == 0.5
    assert summary.metrics["report.judge_kappa"].value == 0.0


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (garbage({}, ""), "reply-malformed"),
        ("", "endpoint-empty"),
        (reply("right", "side"), "reply-inconsistent"),
        (reply("wrong"), "reply-inconsistent"),
        (reply("splendid"), "reply-malformed"),
        ('{"verdict": "right", "errors": [], "why": "SECRET"}', "reply-malformed"),
        ("[" * 100_000, "reply-malformed"),
        (json.dumps({"choices": []}).encode(), "endpoint-malformed"),
        (json.dumps({"choices": [{"message": {"content": "{"}, "finish_reason": "length"}]}).encode(), "endpoint-cut"),
    ],
)
def test_unusable_replies_are_counted_never_taken_for_wrong(
    stubs: list[JudgeStub], said: str | bytes, reason: str
) -> None:
    told = Told()
    bad = lambda asked, text: said if asked["answer"] == SIDE else perfect(asked, text)  # noqa: E731
    scores, (summary,) = run(stubs, bad, context=Context(progress=told))
    assert len(stubs[0].bodies) == 5, "asked once more"
    seeds = [body["seed"] for body in stubs[0].bodies if json.loads(body["messages"][1]["content"])["answer"] == SIDE]
    assert seeds == [0, 1]
    assert summary.metrics["report.judge_unparsed"].value == 0.25
    assert (summary.metrics["report.judge_right"].value, summary.metrics["report.judge_right"].n) == (2 / 3, 3)
    assert summary.metrics["report.judge_kappa"].n == 3
    assert summary.judge is not None
    assert (summary.judge.asked, summary.judge.unparsed, summary.judge.reasons) == (4, 1, {reason: 1})
    assert (scores[1].ext or {})["judge"]["verdicts"] == [{"unparsed": reason}]
    assert told.lines == [f"judge: no verdict on 1 of 4 answers ({reason}: 1)"]


def test_without_any_verdict_there_is_no_measure(stubs: list[JudgeStub]) -> None:
    _, (summary,) = run(stubs, garbage)
    assert {name for name in summary.metrics if "judge" in name} == {"report.judge_unparsed"}
    assert summary.metrics["report.judge_unparsed"].value == 1.0


def test_several_answers_are_averaged_and_closed_ones_left_alone(stubs: list[JudgeStub]) -> None:
    records = [sample(0, TRUTH, SIDE), sample(1, "Yes.", task="vqa-closed", reference="yes")]
    scores, (summary,) = run(stubs, perfect, records)
    assert len(stubs[0].bodies) == 2
    assert scores[0].metrics["report.judge_right"] == 0.5
    assert scores[0].metrics["report.judge_right_right"] == scores[0].metrics["report.judge_wrong_wrong"] == 0.5
    assert not any("judge" in name for name in scores[1].metrics)
    assert summary.metrics["report.judge_kappa"].value == 1.0


def test_open_answers_are_judged_beyond_equality(stubs: list[JudgeStub]) -> None:
    """ "Left lung" and "lung, left" are one answer to a reader and two to the rule."""
    records = [sample(0, "lung, left", task="vqa-open", reference="left lung")]
    _, (summary,) = run(stubs, lambda *_: reply("right"), records)
    assert summary.metrics["open.judge_right"].value == 1.0
    assert summary.metrics["open.exact"].value == 0.0
    assert summary.metrics["open.judge_agreement"].value == 0.0


def test_equal_runs_are_equal_to_the_byte_whatever_the_timing(stubs: list[JudgeStub]) -> None:
    def uneven(asked: dict[str, Any], text: str) -> str:
        time.sleep(0.03 if asked["answer"] == TRUTH else 0.0)
        return perfect(asked, text)

    made = [run(stubs, say, jobs=jobs) for say, jobs in ((perfect, 1), (uneven, 4))]
    lines = [[encode(one) for part in out for one in part] for out in made]
    assert lines[0] == lines[1]


def test_a_slow_server_is_a_missing_server(
    stubs: list[JudgeStub], monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    stubs.append(JudgeStub(lambda *_: reply("right")))
    plain = stage.open_judge

    def impatient(config: EvalConfig, context: Context) -> Any:
        judge = plain(config, context)
        assert judge is not None
        judge._endpoint.timeout, judge._endpoint.retries = 0.05, 1
        return judge

    monkeypatch.setattr(stage, "open_judge", impatient)
    stubs[-1].say = lambda *_: str(threading.Event().wait(0.5))
    made = stage.run(MIXED, settings(stubs[-1], jobs=1), Context())
    with pytest.raises(UnavailableError, match="does not answer in time"):
        next(made)


def test_a_server_that_dies_ends_the_run_and_what_was_judged_stands(stubs: list[JudgeStub], quick: None) -> None:
    stubs.append(JudgeStub(perfect))
    stubs[-1].refuse_after = 2
    made = stage.run(MIXED, settings(stubs[-1], jobs=1), Context())
    assert [next(made).id, next(made).id] == ["s0", "s1"]  # type: ignore[union-attr]
    with pytest.raises(UnavailableError):
        next(made)


def test_verdicts_are_kept_without_a_word_of_the_reply(stubs: list[JudgeStub], tmp_path: Path) -> None:
    cache = tmp_path / "verdicts"
    bad = lambda asked, text: garbage(asked, text) if asked["answer"] == SIDE else perfect(asked, text)  # noqa: E731
    first = run(stubs, bad, cache=str(cache))
    stubs[0].server.shutdown()
    second = run(stubs, lambda *_: pytest.fail("asked again"), cache=str(cache))
    assert [list(map(encode, part)) for part in first] == [list(map(encode, part)) for part in second]
    kept = [path.read_text() for path in cache.iterdir()]
    assert len(kept) == 3, "equal questions are one"
    assert not any("SECRET" in text or "effusion" in text for text in kept)
    assert (cache.stat().st_mode & 0o777) == 0o700
    for path in cache.iterdir():
        path.write_text("torn {")
    assert run(stubs, perfect, cache=str(cache))[1][0].judge is not None, "what cannot be read is asked again"
    run(stubs, perfect, cache=str(cache), seed=1)
    assert len(stubs[-1].bodies) == 3, "another seed is another question"


def test_equal_questions_at_once_are_one_question(stubs: list[JudgeStub], tmp_path: Path) -> None:
    """A server that says something else each time: without taking turns, equal answers would be told differently."""
    said = iter(["right", "wrong"] * 8)

    def fickle(*_: object) -> str:
        threading.Event().wait(0.02)
        verdict = next(said)
        return reply(verdict, *(["omitted"] if verdict == "wrong" else []))

    scores, _ = run(stubs, fickle, [sample(k, TRUTH) for k in range(8)], jobs=8, cache=str(tmp_path / "c"))
    assert len(stubs[0].bodies) == 1
    assert {score.metrics["report.judge_right"] for score in scores} == {1.0}


def test_a_judge_that_changes_is_no_judge(stubs: list[JudgeStub]) -> None:
    def swapped(asked: dict[str, Any], text: str) -> str:
        if asked["answer"] == DENIED:
            stubs[-1].model = "another"
        return perfect(asked, text)

    with pytest.raises(UnavailableError, match="several models"):
        run(stubs, swapped, jobs=1)


def test_time_over_ends_the_run_before_the_next_question(stubs: list[JudgeStub]) -> None:
    stubs.append(JudgeStub(perfect))
    context = Context(deadline=time.monotonic() + 3600)
    made = stage.run(MIXED, settings(stubs[-1], jobs=1), context)
    next(made)
    context.deadline = time.monotonic() - 1
    with pytest.raises(TryLaterError):
        next(made)
    assert len(stubs[-1].bodies) == 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"endpoint": ""}, "judge http needs --endpoint"),
        ({"endpoint": "http://8.8.8.8/v1"}, "--allow-public-endpoint"),
        ({"endpoint": "ftp://x"}, "http://"),
    ],
)
def test_settings_that_cannot_work(changes: dict[str, Any], message: str) -> None:
    config = EvalConfig(**({"judge": "http", "endpoint_model": "m"} | changes))
    with pytest.raises(ConfigError, match=message):
        next(stage.run(MIXED, config, Context()))


def test_a_comparison_counts_items_with_a_verdict_in_both_runs(stubs: list[JudgeStub]) -> None:
    """Run A has no verdict on its second answer, so neither run's second answer counts."""
    bad = lambda asked, text: garbage(asked, text) if asked["answer"] == SIDE else perfect(asked, text)  # noqa: E731
    a, (alone,) = run(stubs, bad)
    b, _ = run(stubs, perfect, [sample(k, TRUTH) for k in range(4)])
    first, second, change = compare({"a": a}, {"b": b}, resamples=100)
    assert alone.metrics["report.judge_right"].n == 3
    assert (first.metrics["report.judge_right"].value, first.metrics["report.judge_right"].n) == (2 / 3, 3)
    assert (second.metrics["report.judge_right"].value, second.metrics["report.judge_right"].n) == (1.0, 3)
    found = change.metrics["report.judge_right"]
    assert (found.n, found.fixed, found.broken) == (3, 1, 0)
    assert found.value == pytest.approx(1 / 3)
    assert found.p is not None
    assert first.metrics["report.finding_accuracy"].n == 8, "other measures keep their items"
    assert first.judge is not None
    assert second.judge is not None
    assert (first.judge.unparsed, second.judge.unparsed) == (1, 0)


def test_runs_of_different_judges_are_not_compared(stubs: list[JudgeStub]) -> None:
    a, _ = run(stubs, perfect)
    b, _ = run(stubs, perfect, endpoint_model="other")
    with pytest.raises(BadInputError, match="different models"):
        compare({"a": a}, {"b": b}, resamples=100)
    with pytest.raises(BadInputError, match="a holds verdicts of several judges"):
        compare({"a": [*a[:2], *b[2:]]}, {"b": b}, resamples=100)


def test_a_run_without_judge_beside_one_with(stubs: list[JudgeStub]) -> None:
    a, _ = run(stubs, perfect)
    b = [one for one in stage.run(MIXED, EvalConfig(bootstrap=100), Context()) if isinstance(one, Score)]
    first, second, change = compare({"a": a}, {"b": b}, resamples=100)
    assert first.metrics["report.judge_right"].value == 0.5
    assert not any("judge" in name for name in (*second.metrics, *change.metrics))
    assert (second.judge, change.judge) == (None, None)


def test_grades_are_read_strictly() -> None:
    assert read_grade('```json\n{"verdict": "wrong", "errors": ["side", "omitted", "side"]}\n```').errors == [
        "omitted",
        "side",
    ]
    for text in ('{"verdict": "right"}', '{"errors": []}', '["right"]', 'right {"verdict": "right", "errors": []}'):
        with pytest.raises(RecordError):
            read_grade(text)


def test_nothing_to_judge_is_said(stubs: list[JudgeStub]) -> None:
    told = Told()
    _, (summary,) = run(stubs, perfect, [sample(0, "Yes.", task="vqa-closed", reference="yes")], Context(progress=told))
    assert (summary.judge, stubs[0].bodies) == (None, [])
    assert told.lines == ["judge: no report and no open answer to judge"]
