import io
from pathlib import Path

import pytest
from rich.console import Console

from medpo_cli.cli import demo
from medpo_cli.errors import CannotCreateError
from medpo_cli.schema.records import Interval, Summary


def summaries() -> list[Summary]:
    def one(arm: str, against: str | None, **metrics: Interval) -> Summary:
        named = {key.replace("__", "."): value for key, value in metrics.items()}
        return Summary(arm=arm, against=against, metrics=named, profile="medpo/1", seed=0, versions={})

    return [
        one("base", None, report__finding_accuracy=Interval(value=0.85, n=100)),
        one("fire-mpo 0", None, report__finding_accuracy=Interval(value=0.94, n=100)),
        one("fire-mpo 0", "base", report__finding_accuracy=Interval(value=0.09, n=100, low=0.07, high=0.11)),
        one("dpo refs", None, report__finding_accuracy=Interval(value=0.80, n=100)),
        one("dpo refs", "base", report__finding_accuracy=Interval(value=-0.05, n=100, low=-0.08, high=-0.02)),
    ]


def shown(table: object) -> list[str]:
    stream = io.StringIO()
    Console(file=stream, width=80).print(table)
    return stream.getvalue().splitlines()


def test_wins_and_losses_are_marked_alike() -> None:
    row = next(line for line in shown(demo.result_table(summaries(), "t")) if "findings right" in line)
    assert row.split() == ["findings", "right", "85.0", "94.0", "+", "80.0", "!"]


def test_differences_come_with_their_intervals() -> None:
    lines = shown(demo.interval_table(summaries()))
    assert any("+9.0 [+7.0, +11.0]" in line for line in lines)
    assert any("\N{MINUS SIGN}5.0 [\N{MINUS SIGN}8.0, \N{MINUS SIGN}2.0]" in line for line in lines)


def test_measures_that_no_arm_has_are_left_out() -> None:
    assert not any("open answers" in line for line in shown(demo.result_table(summaries(), "t")))


def test_an_earlier_demo_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "summary.jsonl").write_text("")
    with pytest.raises(CannotCreateError, match="--force"):
        demo.run(tmp_path, domain="phantom", seeds=1, images=8, force=False)
