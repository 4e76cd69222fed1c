"""docs/how-to/objectives.md: its commands, its objective and its fields are what the program has."""

import re
import shlex
from pathlib import Path
from typing import get_args

import msgspec
import pytest

from medpo_cli.cli.settings import STAGES, resolve
from medpo_cli.schema.config import AlignConfig, Method
from medpo_cli.schema.extras import AlignExtras
from medpo_cli.schema.objectives import KL, Anchor, Rank
from medpo_cli.training.objectives.methods import resolve as terms_of

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "how-to" / "objectives.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_composed_objective_loads(tmp_path: Path) -> None:
    (text,) = blocks("toml")
    (tmp_path / "own.toml").write_text(text)
    config = resolve("align", AlignConfig, {}, str(tmp_path / "own.toml")).stage
    terms = terms_of(config.method, beta=config.beta, gamma=config.gamma, nll=config.nll, composed=config.terms)
    assert terms == (
        Rank(name="words", scope="span", beta=0.2),
        Rank(name="visual", better="'-", worse="'+", scope="span", weight=0.1, optional=True),
        Anchor(),
        KL(scope="response", weight=0.01),
    )


def test_the_fields_are_those_that_align_reads() -> None:
    (text,) = blocks("json")
    given = msgspec.json.decode(text)
    msgspec.convert(given, AlignExtras)
    assert set(given) | {"old_logprobs"} == set(AlignExtras.__struct_fields__)
    assert "ext.align.old_logprobs" in PAGE


def test_every_method_is_in_the_tables() -> None:
    named = set(re.findall(r"[a-z0-9-]+", " ".join(line.split("|")[1] for line in PAGE.splitlines() if "|" in line)))
    listed = {"perpo", "s-dpo", "p3o"}
    assert set(get_args(Method)) - named == listed
    assert all(name in PAGE for name in listed)


@pytest.mark.parametrize("block", blocks("sh"))
def test_commands_are_valid(block: str) -> None:
    recipe, *lines = block.splitlines()
    path = ROOT / recipe.removeprefix("R=")
    for line in lines:
        medpo, stage, *words = shlex.split(line.replace("$R", str(path)))
        assert medpo == "medpo"
        adapter = words[words.index("--adapter") + 1] if "--adapter" in words else ""
        given = {"model": "m", "adapter": adapter} if stage in ("sample", "align") else {}
        assert resolve(stage, STAGES[stage], given, words[words.index("--config") + 1])
