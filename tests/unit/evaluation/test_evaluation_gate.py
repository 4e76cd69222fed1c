"""Bounds that an evaluation must hold."""

from pathlib import Path

import pytest

from medpo_cli.errors import ConfigError, NoInputError
from medpo_cli.evaluation.gate import Bound, failures, load_gate
from medpo_cli.schema.records import Interval, Summary


def _summary(arm: str, against: str | None, value: float, low: float | None, high: float | None) -> Summary:
    metrics = {"report.hallucination": Interval(value=value, n=10, low=low, high=high)}
    return Summary(arm=arm, against=against, metrics=metrics, profile="medpo/1", seed=0, versions={})


SUMMARIES = [
    _summary("base", None, 0.2, 0.1, 0.3),
    _summary("aligned", None, 0.1, 0.05, 0.15),
    _summary("aligned", "base", -0.1, -0.2, 0.01),
]


@pytest.mark.parametrize(
    ("bound", "message"),
    [
        (Bound(metric="report.hallucination", max=0.1), ""),  # the last arm
        (Bound(metric="report.hallucination", max=0.1, by="high"), "0.15 (high end of the 95 % interval) is above 0.1"),
        (Bound(metric="report.hallucination", max=0.1, arm="base"), "report.hallucination base: 0.2 is above 0.1"),
        (Bound(metric="report.hallucination", min=0.15), "0.1 is below 0.15"),
        (Bound(metric="report.hallucination", max=0.0, against="base"), ""),
        (Bound(metric="report.hallucination", max=0.0, against="base", by="high"), "against base: 0.01 (high end"),
        (Bound(metric="report.hallucination", max=0.0, against="sft"), "against sft: not measured"),
        (Bound(metric="report.omission", max=1.0), "report.omission: not measured"),
    ],
)
def test_bounds(bound: Bound, message: str) -> None:
    found = failures([bound], SUMMARIES)
    assert found == [] if not message else message in found[0]


def test_an_interval_that_could_not_be_drawn_opens_no_gate() -> None:
    bound = Bound(metric="report.hallucination", max=1.0, by="high")
    assert failures([bound], [_summary("base", None, 0.1, None, None)]) == [
        "report.hallucination: not measured (no high end)"
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[bound]]\nmetric = 'report.halucination'\nmax = 0.1", "did you mean report.hallucination"),
        ("[[bound]]\nmetric = 'report.hallucination'", "neither min nor max"),
        ("[[bound]]\nmetric = 'report.hallucination'\nmaximum = 1", "maximum"),
        ("[[bound]]\nmetric = 'report.hallucination'\nmax = 'a'", "max"),
        ("bound = []", "length"),
        ("", "bound"),
        ("[[bound", "gate.toml"),
    ],
)
def test_a_bad_gate_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "gate.toml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_gate(path)


def test_a_missing_gate(tmp_path: Path) -> None:
    with pytest.raises(NoInputError):
        load_gate(tmp_path / "gate.toml")
