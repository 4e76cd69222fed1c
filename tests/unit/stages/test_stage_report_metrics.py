"""``medpo eval --wording --metrics``: programs that measure, that are missing, and that misbehave."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medpo_cli.errors import BadInputError, ConfigError, NoInputError, UnavailableError
from medpo_cli.evaluation.comparisons import compare
from medpo_cli.evaluation.gate import check_metric
from medpo_cli.evaluation.headline import headline
from medpo_cli.evaluation.measures import WORDING
from medpo_cli.evaluation.text_table import table
from medpo_cli.evaluation.wording import cider_rows
from medpo_cli.io.context import Context, Silent
from medpo_cli.schema.config import EvalConfig
from medpo_cli.schema.records import ImageRef, Policy, Response, Sample, Score, Summary
from medpo_cli.stages import eval as stage

STUB = Path(__file__).parents[2] / "data" / "metrics.py"
GREEN = "[Clinically Significant Errors]:\n{}\n\n[Clinically Insignificant Errors]:\n{}\n\n[Matched Findings]:\n{}"


def sample(number: int, *answers: str, reference: str = "a b c", task: Any = "report") -> Sample:
    return Sample(
        id=f"s{number}", group=f"g{number // 2}", image=ImageRef(path="x.png"), prompt="SECRET", reference=reference,
        task=task, policy=Policy(model="m", digest="0" * 64), responses=[Response(text=answer) for answer in answers],
    )  # fmt: skip


class Told(Silent):
    """Keeps what is said to the user."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def warn(self, message: str) -> None:
        self.lines.append(message)


def file_of(folder: Path, mode: str, **settings: Any) -> str:
    table = {"command": f"{sys.executable} {STUB} {mode}", "startup": 20, "seconds": 20, **settings}
    lines = "\n".join(f"{key} = {json.dumps(value)}" for key, value in table.items())
    (folder / "metrics.toml").write_text(f"[metric.stub]\n{lines}\n")
    return str(folder / "metrics.toml")


def run(records: Sequence[Sample], told: Told | None = None, **settings: Any) -> tuple[list[Score], list[Summary]]:
    config = EvalConfig(bootstrap=200, **settings)
    out = list(stage.run(records, config, Context(progress=told or Told())))
    return [one for one in out if isinstance(one, Score)], [one for one in out if isinstance(one, Summary)]


def values(summary: Summary) -> dict[str, float]:
    return {name: one.value for name, one in summary.metrics.items() if name.startswith("metric.")}


def test_numbers_are_averaged_and_the_program_is_named(tmp_path: Path) -> None:
    records = [sample(0, "a b c"), sample(1, "x"), sample(2, "a b c", "x y z"), sample(3, "yes", task="vqa-open")]
    scores, (summary,) = run(records, metrics=file_of(tmp_path, "good"))
    assert values(summary) == {"metric.stub.share": 0.5, "metric.stub.failed": 0.0}
    assert summary.metrics["metric.stub.share"].n == 3
    assert summary.versions["metric:stub"] == "stub 1"
    assert not any(name.startswith("metric") for name in scores[3].metrics)
    assert "stub: stub 1" in table([summary])
    assert "0.500" in table([summary])


def test_vector_19_labels_micro_and_macro_as_sklearn(tmp_path: Path) -> None:
    said, truth = ["a", "none", "a b c", "none"], ["a", "b", "a b", "none"]
    records = [sample(k, one, reference=other) for k, (one, other) in enumerate(zip(said, truth, strict=True))]
    _, (summary,) = run(records, metrics=file_of(tmp_path, "labels"))
    got = values(summary)
    assert got["metric.stub.labels_micro"] == 0.75
    assert round(got["metric.stub.labels_macro"], 4) == 0.5556
    assert got["metric.stub.labels_micro_two"] == pytest.approx(6 / 7)
    assert got["metric.stub.labels_macro_two"] == pytest.approx((1 + 2 / 3) / 2)
    shown = [row.measure.name for row in headline([summary]) if row.measure.kind == "metric"]
    assert set(shown) == set(got)
    assert shown[-1] == "metric.stub.failed"
    cell = summary.metrics["metric.stub.labels_macro"]
    assert cell.n == 4
    assert cell.low is not None
    assert cell.low < cell.value


def test_vector_18_green_of_the_models_words(tmp_path: Path) -> None:
    errors = "(a) False report of a finding in the candidate: 1. effusion\n(b) Missing a finding: 1. nodule"
    text = GREEN.format(errors, "(a) False report of a finding in the candidate: 1. atelectasis", "2. heart; lungs")
    none = GREEN.format("No errors.", "No errors.", "No matched findings.")
    scores, (summary,) = run([sample(0, text), sample(1, none)], metrics=file_of(tmp_path, "green"))
    assert [score.metrics["metric.stub.value.green"] for score in scores] == [0.5, 0.0]
    told = Told()
    _, (summary,) = run([sample(0, text), sample(1, "I cannot")], told, metrics=file_of(tmp_path, "green"))
    assert summary.metrics["metric.stub.green"].n == 1
    assert told.lines == ["metric stub: no value for 1 of 2 answers (unread: 1)"]


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("crash", "crash"), ("hang", "timeout"), ("count", "protocol"), ("other", "protocol"), ("print", "protocol"),
        ("nan", "protocol"), ("infinite", "protocol"), ("refuse", "refused"), ("long", "protocol"),
        ("memory", "crash"),
    ],
)  # fmt: skip
def test_one_that_misbehaves_costs_that_report_only(tmp_path: Path, mode: str, reason: str) -> None:
    told = Told()
    limits = {"seconds": 1.5} if mode == "hang" else {"memory_gb": 0.5} if mode == "memory" else {}
    records = [sample(0, "a b c"), sample(1, "BAD SECRET"), sample(2, "a b c")]
    scores, (summary,) = run(records, told, metrics=file_of(tmp_path, mode, **limits))
    assert told.lines == [f"metric stub: no value for 1 of 3 answers ({reason}: 1)"]
    assert [score.metrics["metric.stub.failed"] for score in scores] == [0, 1, 0]
    assert (summary.metrics["metric.stub.share"].value, summary.metrics["metric.stub.share"].n) == (1.0, 2)
    assert (summary.metrics["metric.stub.failed"].n, len(scores)) == (3, 3)


def test_a_program_that_always_fails_is_given_up(tmp_path: Path) -> None:
    told = Told()
    records = [sample(k, "BAD") for k in range(5)]
    _, (summary,) = run(records, told, metrics=file_of(tmp_path, "crash"))
    assert told.lines == ["metric stub: no value for 5 of 5 answers (crash: 3, given-up: 2)"]
    assert values(summary) == {"metric.stub.failed": 1.0}


def test_a_report_longer_than_a_pipe_does_not_hang_on_a_program_that_does_not_read(tmp_path: Path) -> None:
    told = Told()
    records = [sample(0, "BAD"), sample(1, "word " * 60000)]
    run(records, told, metrics=file_of(tmp_path, "hang", seconds=1.0))
    assert told.lines == ["metric stub: no value for 1 of 2 answers (timeout: 1)"]


@pytest.mark.parametrize("made", ["absent", "empty"])
def test_missing_weights_are_skipped_at_once_and_said(tmp_path: Path, made: str) -> None:
    told, weights = Told(), tmp_path / "w8s"
    if made == "empty":
        weights.mkdir()
    # Were it started, it would not get ready, which is another reason.
    metrics = file_of(tmp_path, "good", weights=[str(STUB), str(weights)], command="sleep 60")
    _, (summary,) = run([sample(0, "a")], told, metrics=metrics)
    assert told.lines == ["metric stub skipped: weights not found (w8s)"]
    assert summary.versions["metric:stub"] == "skipped: weights not found (w8s)"
    assert "skipped: weights not found" in table([summary])
    assert not values(summary)


@pytest.mark.parametrize(
    ("mode", "reason"),
    [
        ("missing", "weights not found"), ("early", r"not ready \(crash\)"), ("babble", r"not ready \(protocol\)"),
        ("both", r"not ready \(protocol\)"),
    ],
)  # fmt: skip
def test_require_makes_a_missing_one_an_error(tmp_path: Path, mode: str, reason: str) -> None:
    told, metrics = Told(), file_of(tmp_path, mode)
    run([sample(0, "a")], told, metrics=metrics)
    assert len(told.lines) == 1
    with pytest.raises(UnavailableError, match=reason):
        run([sample(0, "a")], metrics=metrics, require="stub")


def test_a_command_that_cannot_be_started(tmp_path: Path) -> None:
    metrics = file_of(tmp_path, "good", command="/nowhere/python x.py")
    told = Told()
    run([sample(0, "a")], told, metrics=metrics)
    assert told.lines == ["metric stub skipped: the program cannot be started"]
    with pytest.raises(UnavailableError, match="cannot be started"):
        run([sample(0, "a")], metrics=metrics, require="stub")


def test_a_program_that_comes_back_as_another_ends_the_run(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="changed while it was used"):
        run([sample(0, "BAD"), sample(1, "a")], metrics=file_of(tmp_path, "version"))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[metric.x]\n", "command"), ("[metric.x]\ncommand='a'\nwieghts='b'\n", "wieghts"), ("metric = 1\n", "metric"),
        ("[metric.'A b']\ncommand='a'\n", "metric"), ("[metric.x]\ncommand='a'\nseconds=0\n", "seconds"),
        ("[metric.x]\ncommand=\"a 'b\"\n", "quotes"),
    ],
)  # fmt: skip
def test_bad_files_are_refused_before_anything_runs(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "m.toml").write_text(text)
    with pytest.raises(ConfigError, match=said):
        run([sample(0, "a")], metrics=str(tmp_path / "m.toml"))


def test_a_required_metric_must_be_named_in_the_file(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no metric bertscore; it has stub"):
        run([sample(0, "a")], metrics=file_of(tmp_path, "good"), require="stub, bertscore")
    with pytest.raises(NoInputError):
        run([sample(0, "a")], metrics=str(tmp_path / "none.toml"))


def test_runs_are_compared_on_the_reports_that_both_have_a_value_of(tmp_path: Path) -> None:
    a, _ = run([sample(0, "a b c"), sample(1, "BAD"), sample(2, "x")], metrics=file_of(tmp_path, "refuse"))
    b, _ = run([sample(0, "x"), sample(1, "a b c"), sample(2, "x")], metrics=file_of(tmp_path, "refuse"))
    first, second, change = compare({"A": a}, {"B": b}, resamples=100)
    assert [one.metrics["metric.stub.share"].n for one in (first, second, change)] == [2, 2, 2]
    assert change.metrics["metric.stub.share"].value == pytest.approx(-0.5)
    assert first.metrics["metric.stub.failed"].value == pytest.approx(1 / 3)


def test_runs_by_different_programs_are_not_compared(tmp_path: Path) -> None:
    a, _ = run([sample(0, "a b c")], metrics=file_of(tmp_path, "good"))
    b = [score.__class__(**{**_fields(score), "ext": {"metrics": {"stub": {"program": "stub 2"}}}}) for score in a]
    with pytest.raises(BadInputError, match="measured stub by different programs or versions"):
        compare({"A": a}, {"B": b}, resamples=100)


def _fields(score: Score) -> dict[str, Any]:
    return {name: getattr(score, name) for name in score.__struct_fields__}


def test_wording_is_paired_and_says_its_definition() -> None:
    texts = ["no acute disease is seen", "small left pleural effusion there", "the heart is enlarged again"]
    good = [sample(k, text, reference=text) for k, text in enumerate(texts)]
    bad = [sample(k, "nothing like it at all", reference=text) for k, text in enumerate(texts)]
    a, (one,) = run(good, wording=True)
    b, _ = run(bad, wording=True)
    got = {name: one.metrics[f"report.{name}"].value for name in ("rouge_1", "rouge_2", "cider", "empty")}
    assert got == pytest.approx({"rouge_1": 1, "rouge_2": 1, "cider": 10, "empty": 0})
    assert "CIDEr-D" in one.versions["metric:cider"]
    assert "cider: CIDEr-D" in table([one])
    *_, change = compare({"A": a}, {"B": b}, resamples=100)
    assert change.metrics["report.cider"].n == 3
    assert change.metrics["report.cider"].high is not None
    assert change.metrics["report.cider"].high < -9
    _, (again,) = run(good, wording=True)
    assert again == one


def test_each_draw_of_cider_is_the_mean_of_the_reports_that_it_holds() -> None:
    records = [sample(k, "a b c d", reference=text) for k, text in enumerate(["a b c", "a d", "e f g h", "a b c d"])]
    scores, _ = run(records, wording=True)
    table = cider_rows(scores, WORDING[0])
    assert table.counted == 4
    times = np.array([[0.0, 2, 0, 1], [4, 0, 0, 0]])
    each = [table.measured(np.eye(4)[k : k + 1])[0] for k in range(4)]
    assert table.measured(times) == pytest.approx([(2 * each[1] + each[3]) / 3, each[0]])


def test_medevalkits_wording_has_names_of_its_own() -> None:
    _, (one,) = run([sample(0, "a b c d"), sample(1, "")], wording=True, profile="medevalkit")
    assert one.metrics["report.union_rouge_l"].value == pytest.approx(2 * 0.75 / 1.75 / 2, abs=1e-6)
    assert one.metrics["report.sentence_bleu_1"].value == pytest.approx(0.375)
    assert one.metrics["report.empty"].value == 0.5


def test_reports_without_the_options_hold_nothing_of_them() -> None:
    scores, (one,) = run([sample(0, "a b c")])
    assert not {"metrics", "texts"} & set(scores[0].ext or {})
    assert not any(name == "report.cider" or name.startswith("metric") for name in one.metrics)


def test_gates_know_the_names() -> None:
    for name in ("report.bleu_4", "report.cider", "report.changes_f1", "metric.bertscore.f1"):
        check_metric(name, "x")
