"""docs/how-to/review.md: its commands are valid and its table holds every reason for which edit refuses."""

import ast
import re
import shlex
from pathlib import Path

import medpo_cli
from medpo_cli.cli.settings import names, resolve
from medpo_cli.schema.config import EditConfig, StreamConfig

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "how-to" / "review.md").read_text("utf-8")
PACKAGE = Path(medpo_cli.__file__).parent
VERIFYING = ("text/verify.py", "text/anchors.py", "text/spans.py")
SOURCES = (*VERIFYING, "stages/edit.py", "stages/audit.py", "stages/review.py")


def codes(name: str) -> set[str]:
    return {
        call.args[0].value
        for call in ast.walk(ast.parse((PACKAGE / name).read_text("utf-8")))
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "RecordError"
        if isinstance(call.args[0], ast.Constant)
    }


def test_every_reason_is_explained() -> None:
    explained = {
        code for row in re.findall(r"^\| (`.*?) \|", PAGE, re.MULTILINE) for code in re.findall("`(.*?)`", row)
    }
    raised = set().union(*map(codes, SOURCES)) - {"bad-span"}  # no record can hold such a span
    assert raised == explained


def test_commands_are_valid() -> None:
    lines = [line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]
    assert len(lines) == 2
    known = {**names(EditConfig), **names(StreamConfig)}
    for line in lines:
        medpo, stage, *words = shlex.split(line)
        assert (medpo, stage) == ("medpo", "edit")
        flags = {
            word.removeprefix("--").replace("-", "_"): words[place + 1]
            for place, word in enumerate(words)
            if word.startswith("--")
        }
        assert flags.keys() <= known.keys()
        assert resolve("edit", EditConfig, flags, None).stage
