"""docs/results.md from the committed JSON: generated tables between sentences that were written by hand."""

from collections.abc import Callable, Sequence
from pathlib import Path

from medpo_cli.evaluation.headline import measure_of, number
from medpo_cli.io.stream import read_file
from medpo_cli.schema.records import Trial
from study.arms import METHODS
from study.recipe import BEST
from study.search import averaged, chosen, floor_of
from study.table import Kept, arms_down, differences, load, markdown

NOTE = "<!-- Made by `python benchmarks/results.py --page`; edit docs/results/results.md.in instead. -->"
TRADED = ("report.finding_accuracy", "report.hallucination", "report.specificity")
"""What no method has won together yet."""
SHORT = (*TRADED, "report.omission", "report.side_error", "report.flip_twin", "pair.reversal_lesion", "report.words")


def write_page(docs: Path) -> None:
    """Fill each ``{{name}}`` of docs/results/results.md.in and write docs/results.md."""
    folder = docs / "results"
    text = (folder / "results.md.in").read_text(encoding="utf-8")
    for name, fill in FILLED.items():
        if f"{{{{{name}}}}}" in text:
            text = text.replace(f"{{{{{name}}}}}", fill(folder).rstrip("\n"))
    (docs / "results.md").write_text(f"{NOTE}\n\n{text}", encoding="utf-8")


def _methods(domain: str) -> Callable[[Path], str]:
    def fill(folder: Path) -> str:
        kept = load(folder / f"{domain}.json")
        names = ["base", *(arm.name for arm in METHODS), BEST]
        return f"{_made(kept)}\n\n{markdown(kept, [name for name in names if name in kept.values])}"

    return fill


def _made(kept: Kept) -> str:
    sizes = ", ".join(f"{value} {key}" for key, value in kept.made.items() if key != "command")
    return f"`{kept.made['command']}`: {sizes}."


def _ablation(folder: Path) -> str:
    kept = load(folder / "phantom.json")
    methods = {arm.name for arm in METHODS}
    names = ["sft on edits", "mdpo, crops", *(name for name in kept.values if name not in methods and name != "base")]
    return arms_down(kept, names, SHORT)


def _front(folder: Path) -> str:
    """One sentence for each arm that no other arm beats in all that is traded."""
    kept = load(folder / "phantom.json")
    values = {name: [_gain(own[key].value, key) for key in TRADED] for name, own in kept.values.items()}
    front = [name for name, own in values.items() if not any(_beats(other, own) for other in values.values())]
    lines = [f"- {name}: {', '.join(_said(kept, name, key) for key in TRADED)}" for name in front]
    return "\n".join(lines)


def _gain(value: float, key: str) -> float:
    return value if measure_of(key).better == "higher" else -value


def _beats(other: Sequence[float], own: Sequence[float]) -> bool:
    return other != own and all(a >= b for a, b in zip(other, own, strict=True))


def _said(kept: Kept, name: str, key: str) -> str:
    return f"{measure_of(key).short} {number(measure_of(key), kept.values[name][key].value)}"


def _search(folder: Path) -> str:
    """All trials, the chosen one first, by findings right; what was tried with more seeds as their mean."""
    trials = list(read_file(folder / "search.jsonl", Trial))
    best = chosen(trials).run
    means = sorted(averaged(trials), key=lambda one: (one.run != best, -one.metrics[TRADED[0]], one.run))
    head = f"{len(trials)} trials of {len(means)} mixes; specificity of mDPO: {100 * floor_of(trials):.1f}."
    titles = " | ".join(measure_of(key).label for key in SHORT)
    lines = [f"| mix | seeds | {titles} |", "|---|---:|" + "---:|" * len(SHORT)]
    for one in means:
        cells = " | ".join(number(measure_of(key), one.metrics[key]) for key in SHORT)
        title = f"**{one.run}**" if one.run == best else one.run
        lines.append(f"| {title} | {one.seed} | {cells} |")
    return f"{head}\n\n" + "\n".join(lines)


def _contrasts(folder: Path) -> str:
    return differences(load(folder / "phantom.json"), [key for key in SHORT if key != "report.words"])


FILLED: dict[str, Callable[[Path], str]] = {
    "phantom": _methods("phantom"),
    "ct": _methods("ct"),
    "ablation": _ablation,
    "front": _front,
    "contrasts": _contrasts,
    "search": _search,
}
