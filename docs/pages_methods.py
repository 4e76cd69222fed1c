"""The generated page docs/reference/methods.md: every objective with equation, fields, defaults, source."""

from typing import Any

import msgspec

from medpo_cli.schema import objectives as kinds
from medpo_cli.schema.extras import AlignExtras
from medpo_cli.schema.records import ImageRef, Pair, Ranked, Ranking
from medpo_cli.training.needs import absent, is_listwise, missing
from medpo_cli.training.objectives import table
from medpo_cli.training.objectives.methods import resolve

HIDDEN = {"name", "weight", "optional"}
BARE = Pair(
    id="x", image=ImageRef(path="x"), prompt="x", task="report", chosen="a", rejected="b", origin="corrected", spans=[]
)
LIST = Ranking(
    id="x",
    image=ImageRef(path="x"),
    prompt="x",
    task="report",
    responses=[Ranked(text="a", reward=1.0), Ranked(text="b", reward=0.0)],
)


INTRODUCTION = """# Methods

`medpo align --method NAME`; `--beta`, `--gamma`, `--alpha`, `--kl-forward`, `--kl-scope` and `--nll` change what a
method starts with. `--papo C` adds to any method of pairs the reward -C of PAPO (2507.06448): the mean over y+ of
k3 = e^d - d - 1 with d = log pi(v') - log pi(v), no gradient through v', each token at most 10 nats. How to make the
data of each method: [objectives](../how-to/objectives.md).
"""


def methods() -> str:
    """The page."""
    parts = [
        INTRODUCTION,
        "\n```text\n",
        (table.__doc__ or "").strip(),
        "\n```\n\n| method | needs | source |\n|---|---|---|\n",
    ]
    for name, method in table.METHODS.items():
        parts.append(f"| [{name}](#{name}) | {', '.join(needs(name))} | {method.source} |\n")
    parts += [section(name) for name in table.METHODS]
    parts += ["\n## Terms\n\nAn own objective is a list of `[[align.terms]]`; these are their kinds and fields.\n"]
    parts += [kind(one) for one in kinds.AnyTerm.__args__]
    return "".join(parts)


def needs(name: str) -> list[str]:
    """Fields of a record that the method cannot do without, those that all pairs or rankings have first."""
    terms = resolve(name)
    base: Pair | Ranking = LIST if is_listwise(terms) else BARE
    found = ["a ranking" if is_listwise(terms) else "a pair"]
    for term in terms:
        lacking = [absent(sequence, base, AlignExtras()) for sequence in term.sequences if not term.optional]
        found += [path for path in [*lacking, *missing(term, base, AlignExtras())] if path and path not in found]
    setting = ["`--reference-adapter`"] if any(getattr(term, "references", 1) == 2 for term in terms) else []
    return [found[0], *(f"`{path}`" for path in found[1:]), *setting]


def section(name: str) -> str:
    """One method."""
    method = table.METHODS[name]
    head = f"\n## {name}\n\n```text\nL = {method.equation}\n```\n\n"
    head += f"Source: {method.source}. Needs {', '.join(needs(name))}.\n"
    rows = "".join(
        f"| {term.key} | {type(term).__struct_config__.tag} | {', '.join(f'`{one}`' for one in term.sequences)} "
        f"| {round(term.weight, 10):g} | {settings(term)} |\n"
        for term in method.terms
    )
    listed = f"\n| term | kind | of | weight | settings |\n|---|---|---|---:|---|\n{rows}"
    return head + (f"{method.decided}\n" if method.decided else "") + listed


def settings(term: kinds.Term) -> str:
    """The fields of a term that its readers will want to know: beta and scope always, others where they differ."""
    shown = []
    for field in msgspec.structs.fields(type(term)):
        value = getattr(term, field.name)
        always = field.name in {"beta", "scope", "forward", "gamma"}
        if field.name not in HIDDEN and (always or value != field.default) and value not in term.sequences:
            shown.append(f"{field.name} {_plain(value)}")
    return ", ".join(shown) + (", optional" if term.optional else "")


def _plain(value: Any) -> str:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def kind(one: type[kinds.Term]) -> str:
    """One kind of term with its fields."""
    lead, _, fields = (one.__doc__ or "").partition("Attributes:")
    rows = "".join(
        f"| `{field.name}` | {msgspec.json.encode(field.default).decode()} |\n"
        for field in msgspec.structs.fields(one)
        if field.name not in HIDDEN
    )
    tag = one.__struct_config__.tag
    attributes = "".join(f"- {line.strip()}\n" for line in _joined(fields))
    table_ = f"\n| field | default |\n|---|---|\n{rows}" if rows else ""
    return f"\n### {tag}\n\n{' '.join(lead.split())}\n" + (f"\n{attributes}" if attributes else "") + table_


def _joined(text: str) -> list[str]:
    """Entries of an Attributes section, continuation lines joined."""
    entries: list[str] = []
    for line in filter(str.strip, text.splitlines()):
        indent = len(line) - len(line.lstrip())
        if indent > 8 and entries:
            entries[-1] += " " + line.strip()
        else:
            entries.append(line.strip())
    return entries
