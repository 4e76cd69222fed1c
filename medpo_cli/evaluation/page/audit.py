"""The page on which a person judges edits: the difference highlighted, a verdict by one key."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from medpo_cli.evaluation.page.render import asset, template
from medpo_cli.io.files import write_atomic
from medpo_cli.schema.records import Offsets, Pair

VERDICTS = ("accept", "reject", "unsure")


@dataclass(frozen=True)
class Judged:
    """One pair on the page.

    Attributes:
        pair: the pair.
        kind: of its first edit.
        digest: of its texts, to tell later whether they are still those that were judged.
    """

    pair: Pair
    kind: str
    digest: str

    def pieces(self, side: str) -> list[tuple[str, bool]]:
        """The text of ``chosen`` or ``rejected`` cut where it is edited: (stretch, edited)."""
        return pieces(getattr(self.pair, side), [getattr(span, side) for span in self.pair.spans])


def pieces(text: str, offsets: Sequence[Offsets]) -> list[tuple[str, bool]]:
    """``text`` cut at half-open ``offsets`` in order: (stretch, inside); joined they give the text."""
    found, position = [], 0
    for start, end in offsets:
        found += [(text[position:start], False), (text[start:end], True)]
        position = end
    return [(part, inside) for part, inside in [*found, (text[position:], False)] if part]


def write_audit_page(path: Path, pairs: Sequence[Judged], counts: Mapping[str, int]) -> None:
    """Write the page in one piece; it fetches nothing, works from a file, and saves the verdicts as CSV.

    Args:
        path: the page.
        pairs: what is judged, in order.
        counts: pairs of each kind there were in all.

    Raises:
        CannotCreateError: the folder cannot be written.
        OutputError: the disk is full.
    """
    shown = {kind: sum(judged.kind == kind for judged in pairs) for kind in sorted(counts)}
    page = template("audit.html").render(
        name=path.stem,
        pairs=pairs,
        total=sum(counts.values()),
        kinds=[(kind, shown[kind], counts[kind]) for kind in shown],
        verdicts=VERDICTS,
        style=asset("page.css") + asset("audit.css"),
        script=asset("audit.js"),
    )
    write_atomic(path, page.encode())
