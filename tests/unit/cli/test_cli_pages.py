"""Help pages: each setting has its panel, and the examples are real command lines."""

import shlex

import msgspec
import pytest
import typer

from medpo_cli.cli import pages
from medpo_cli.cli.stage import command
from medpo_cli.cli.stages import STAGES

NAMES = sorted(STAGES)


def fields(stage: str) -> list[str]:
    return [field.name for field in msgspec.structs.fields(STAGES[stage].config)]


@pytest.mark.parametrize("stage", NAMES)
def test_every_setting_has_a_panel_and_every_panel_a_setting(stage: str) -> None:
    assert all(pages.panels(stage, fields(stage)))
    assert set(pages._BEGINS[stage]) <= set(fields(stage))


def test_a_panel_goes_on_until_the_next() -> None:
    assert pages.panels("corrupt", ["operator", "grow", "control", "x"]) == [
        "Operator",
        "Operator",
        "Control and fallback",
        "Control and fallback",
    ]


@pytest.mark.parametrize(("stage", "line"), [(name, line) for name in NAMES for line in pages.EXAMPLES[name]])
def test_examples_are_read_as_they_stand(stage: str, line: str) -> None:
    assert f"medpo {stage}" in line
    for part in line.partition(" > ")[0].split(" | "):
        program, name, *words = shlex.split(part)
        assert program == "medpo"
        app = typer.Typer()
        app.command()(command(STAGES[name], ""))
        parsed = typer.main.get_command(app).make_context(name, list(words))
        given = {key for key, value in parsed.params.items() if value is not None}
        assert len(given) == sum(word.startswith("-") for word in words) + (parsed.params["input"] is not None)


def test_each_example_stands_on_a_line_of_its_own() -> None:
    assert pages.epilog(("a b", "c")) == "Examples:\n\na b\n\nc"
