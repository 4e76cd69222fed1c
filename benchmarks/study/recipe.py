"""The best mix as a recipe, and what is taken away from it one by one."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from medpo_cli.cli.settings import toml
from medpo_cli.io.stream import read_file
from medpo_cli.schema.records import Trial
from study.data import OPERATORS
from study.runs import Arm
from study.search import chosen

BEST = "medpo.toml"
HEAD = """# The mix of terms that a search on the embedded demo liked best; docs/results.md has its ablation.
# There it ran with --lr {lr:g} --rank 16 --lora-alpha 32; a real model wants a far smaller rate, so none is set.

require_end = true
"""


def recipe(best: Trial) -> str:
    """The text of recipes/medpo.toml."""
    settings = best.settings or {}
    parts = [HEAD.format(lr=settings["align"]["lr"])]
    if operator := OPERATORS.get(settings["pairs"]):
        parts.append("[corrupt]\n" + _lines(operator))
    parts += ["[[align.terms]]\n" + _lines(term) for term in settings["align"]["terms"]]
    return "\n".join(parts)


def _lines(values: dict[str, Any]) -> str:
    """Settings as lines of TOML; what JSON kept as 1 is 1.0 again."""
    floats = {name: float(value) for name, value in values.items() if type(value) is int}
    return "".join(f"{name} = {toml(value)}\n" for name, value in (values | floats).items())


def ablation(table: Path) -> Iterator[Arm]:
    """The best mix of a search, then without each of its terms, then under other v'."""
    best = chosen(list(read_file(table, Trial)))
    settings = best.settings or {}
    align, pairs = settings["align"], settings["pairs"]
    yield Arm(BEST, pairs, align)
    for term in align["terms"]:
        kept = [other for other in align["terms"] if other is not term]
        if kept:
            yield Arm(f"without {term.get('name', term['kind'])}", pairs, align | {"terms": kept})
    if any(term.get("name") == "visual" for term in align["terms"]):
        for name, other in (("paper noise", "pairs.noise.jsonl"), ("lesion-free twin", "pairs.twin.jsonl")):
            if other != pairs:
                yield Arm(f"v' {name}", other, align)
