"""What stands between verified pairs and the output: proof on real tokens, and a sample for human review."""

import csv
import hashlib
import heapq
import io
from collections.abc import Iterable, Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from medpo_cli.errors import RecordError
from medpo_cli.io.context import Context
from medpo_cli.io.files import short_hash, write_atomic
from medpo_cli.schema.config import EditConfig
from medpo_cli.schema.records import Pair
from medpo_cli.stages.labels import Labels
from medpo_cli.text.spans import Tokenize, check_tokens

if TYPE_CHECKING:
    from medpo_cli.evaluation.page.audit import Judged

COLUMNS = (
    "id", "kind", "prompt", "reference", "chosen", "rejected", "difference", "verdict", "comment", "digest",
)  # fmt: skip
_FORMULA = ("=", "+", "-", "@", "＝", "＋", "－", "＠")  # spreadsheets take the wide ones, too


class Desk:
    """Refuses pairs that do not hold on the tokenizer, and keeps an audit of the others.

    Raises:
        UnavailableError: the tokenizer cannot be used.
    """

    def __init__(self, config: EditConfig, context: Context) -> None:
        self._context = context
        self._tokenize = _tokenizer(config.tokenizer) if config.tokenizer else None
        self._labels = Labels(config)
        self._audit = Audit(config.audit_size, config.seed) if config.audit else None
        self._name = config.audit

    def passed(self, sample: str, pairs: Iterable[Pair]) -> Iterator[Pair]:
        """The pairs of the sample with this id that hold; the others are rejected under its id."""
        for pair in pairs:
            try:
                if self._tokenize is not None:
                    check_tokens(pair.chosen, pair.rejected, pair.spans, self._tokenize)
                labelled = self._labels.added(pair)
            except RecordError as error:
                self._context.reject(sample, error)
                continue
            if self._audit is not None:
                self._audit.take(labelled)
            yield labelled

    def close(self) -> None:
        """Write the audit, if one was asked for."""
        if self._audit is not None:
            shown = self._audit.write(self._name)
            self._context.progress.note(f"audit: {shown} pairs in {' and '.join(p.name for p in files(self._name))}")


def _tokenizer(folder: str) -> Tokenize:
    from medpo_cli.models.tokenizer import load_tokenizer

    return load_tokenizer(Path(folder))


class Audit:
    """A sample of pairs, spread evenly over the kinds of edits, drawn as they pass.

    Of each kind those with the smallest hash of (seed, id, texts) are kept: the same pairs whatever the order,
    in memory for ``size`` pairs a kind.
    """

    def __init__(self, size: int, seed: int) -> None:
        self.size, self.seed = size, seed
        self.counts: dict[str, int] = {}
        self._kept: dict[str, list[tuple[int, int, Pair]]] = {}
        self._number = count()

    def take(self, pair: Pair) -> None:
        """Consider one pair."""
        kind = kind_of(pair)
        self.counts[kind] = self.counts.get(kind, 0) + 1
        drawn = hashlib.blake2b(f"{self.seed} {pair.id} {text_digest(pair)}".encode(), digest_size=8).digest()
        heap = self._kept.setdefault(kind, [])
        heapq.heappush(heap, (-int.from_bytes(drawn), next(self._number), pair))
        if len(heap) > self.size:
            heapq.heappop(heap)

    def drawn(self) -> list[Pair]:
        """At most ``size`` pairs: one of each kind in turn, so that the first half of an audit is one, too."""
        queues = [[pair for *_, pair in sorted(heap)] for _, heap in sorted(self._kept.items())]
        found: list[Pair] = []
        while len(found) < self.size and any(queues):
            found += [queue.pop() for queue in queues if queue]
        return found[: self.size]

    def write(self, name: str) -> int:
        """Write CSV and page; returns how many pairs they hold."""
        from medpo_cli.evaluation.page.audit import Judged, write_audit_page

        judged = [Judged(pair, kind_of(pair), text_digest(pair)) for pair in self.drawn()]
        table, page = files(name)
        write_atomic(table, csv_text(judged).encode("utf-8-sig"))  # without its mark Excel takes it for Latin-1
        write_audit_page(page, judged, self.counts)
        return len(judged)


def files(name: str) -> tuple[Path, Path]:
    """CSV and page of ``--audit NAME``; an ending .csv or .html of the name does not count."""
    path = Path(name)
    stem = path.with_suffix("") if path.suffix.lower() in (".csv", ".html") else path
    return stem.with_name(stem.name + ".csv"), stem.with_name(stem.name + ".html")


def kind_of(pair: Pair) -> str:
    """The kind of a pair's first edit."""
    return pair.spans[0].kind if pair.spans else "other"


def text_digest(pair: Pair) -> str:
    """Of both texts; starts with a letter so that no spreadsheet makes it a number."""
    return "t" + short_hash(pair.chosen, pair.rejected)


def csv_text(pairs: Iterable["Judged"]) -> str:
    """The table that a reviewer fills: RFC 4180, every cell quoted, none that a spreadsheet would run."""
    stream = io.StringIO()
    writer = csv.writer(stream, quoting=csv.QUOTE_ALL)
    writer.writerow(COLUMNS)
    for judged in pairs:
        pair = judged.pair
        texts = (pair.prompt, pair.reference or "", pair.chosen, pair.rejected, _difference(pair))
        writer.writerow([safe_id(pair.id), judged.kind, *map(safe_cell, texts), "", "", judged.digest])
    return stream.getvalue()


def _difference(pair: Pair) -> str:
    """``right → left``: what the rejected answer says and the chosen one instead, edit by edit."""
    parts = [(pair.rejected[slice(*span.rejected)], pair.chosen[slice(*span.chosen)]) for span in pair.spans]
    return "; ".join(" → ".join(" ".join(text.split()) for text in part) for part in parts)


def safe_cell(text: str) -> str:
    """Text with an apostrophe in front if a spreadsheet would take it for a formula."""
    return f"'{text}" if text.lstrip().startswith(_FORMULA) or text[:1] in ("\t", "\r", "\n") else text


def safe_id(identifier: str) -> str:
    """An id with an apostrophe in front unless it starts with a letter: 1.2.3 would become a date."""
    return identifier if identifier[:1].isalpha() else f"'{identifier}"
