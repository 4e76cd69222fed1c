"""docs/results.md from the committed JSON: generated tables between sentences that were written by hand."""

from collections.abc import Callable
from pathlib import Path

from study.table import load, markdown

NOTE = "<!-- Made by `python benchmarks/results.py --page` from docs/results/; edit docs/results/page.md. -->"


def write_page(docs: Path) -> None:
    """Fill each ``{{name}}`` of docs/results/page.md and write docs/results.md."""
    folder = docs / "results"
    text = (folder / "page.md").read_text(encoding="utf-8")
    for name, fill in FILLED.items():
        if f"{{{{{name}}}}}" in text:
            text = text.replace(f"{{{{{name}}}}}", fill(folder).rstrip("\n"))
    (docs / "results.md").write_text(f"{NOTE}\n\n{text}", encoding="utf-8")


def _study(name: str) -> Callable[[Path], str]:
    def fill(folder: Path) -> str:
        kept = load(folder / f"{name}.json")
        made = ", ".join(f"{value} {key}" for key, value in kept.made.items() if key != "command")
        return f"`{kept.made['command']}`: {made}.\n\n{markdown(kept)}"

    return fill


FILLED: dict[str, Callable[[Path], str]] = {"phantom": _study("phantom"), "ct": _study("ct")}
