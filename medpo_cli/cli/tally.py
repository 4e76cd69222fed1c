"""What a stage made, in a few lines for its end: counted from the records as they go out."""

import statistics
import time
from array import array
from collections import Counter, defaultdict
from collections.abc import Callable

from medpo_cli.schema.records import Case, Pair, Ranking, Record, Sample, Step

_MOST_SHOWN = 8


class Tally:
    """Counts of one run.

    Attributes:
        counts: by heading, how often each thing occurred.
        values: by heading, numbers of which the median is said.
    """

    def __init__(self, stage: str) -> None:
        self.counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
        self.values: defaultdict[str, array[float]] = defaultdict(lambda: array("d"))
        self._look = _LOOKS.get(stage)
        self._begun = time.monotonic()
        self.steps: tuple[Step, Step] | None = None

    def add(self, record: Record) -> None:
        """Count a record that was written."""
        if self._look is not None:
            self._look(self, record)

    def speed(self, records: int) -> str:
        """``in 12.1 s (99/s)``, since the run began."""
        seconds = time.monotonic() - self._begun
        return f"in {_duration(seconds)}" + (f" ({records / seconds:.3g}/s)" if seconds >= 1 and records else "")

    def lines(self) -> list[str]:
        """One line for each heading that something stands under."""
        found = [f"{heading}: {_listed(counter)}" for heading, counter in self.counts.items() if counter.total()]
        medians = ((heading, statistics.median(values)) for heading, values in self.values.items())
        found += [heading.format(value) for heading, value in medians]
        return found + ([_trained(*self.steps)] if self.steps else [])


def _duration(seconds: float) -> str:
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes = round(seconds) // 60
    return (
        f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min {round(seconds) % 60:02d} s"
    )


def _listed(counter: Counter[str]) -> str:
    """``side 301, status 812``: the most frequent first, the tail in one."""
    ordered = sorted(counter.items(), key=lambda item: (-item[1], item[0]))
    shown = [f"{name} {count}" for name, count in ordered[:_MOST_SHOWN]]
    rest = sum(count for _, count in ordered[_MOST_SHOWN:])
    return ", ".join([*shown, f"others {rest}"] if rest else shown)


def _answers(tally: Tally, record: Record) -> None:
    for response in record.responses if isinstance(record, Sample) else ():
        tally.counts["answers"]["cut off at --max-tokens" if response.finish == "length" else "whole"] += 1
        if response.tokens is not None:
            tally.values["median length: {:.0f} tokens"].append(response.tokens)


def _edits(tally: Tally, record: Record) -> None:
    if isinstance(record, Pair):
        tally.counts["pairs"][record.origin] += 1
        tally.counts["edits"].update(span.kind for span in record.spans)
    elif isinstance(record, Ranking):
        tally.counts["rankings"][f"of {len(record.responses)}"] += 1


def _regions(tally: Tally, record: Record) -> None:
    from medpo_cli.text.lexicon import is_finding

    if isinstance(record, Case):
        labels = (region.label for region in record.regions or ())
        tally.counts["regions"].update(label if is_finding(label) else "other names" for label in labels)
        tally.counts["records"]["with regions" if record.regions else "without"] += 1


def _corruptions(tally: Tally, record: Record) -> None:
    if not isinstance(record, Case):
        return
    done = record.corrupted
    tally.counts["corrupted"]["left as it is" if done is None else f"{done.operator} ({done.route})"] += 1
    if done is None:
        return
    if record.control or record.no_control:  # else none was asked for
        tally.counts["control"][f"none ({record.no_control})" if record.no_control else "placed"] += 1
    if done.region.remaining is not None:
        tally.values["contrast of the finding that is left: {:.0%} (median)"].append(abs(done.region.remaining))


def _steps(tally: Tally, record: Record) -> None:
    if isinstance(record, Step):
        tally.steps = (tally.steps[0] if tally.steps else record, record)


def _trained(first: Step, last: Step) -> str:
    return (
        f"loss {first.loss:.3g} -> {last.loss:.3g}, margin {first.margin:.3g} -> {last.margin:.3g}, "
        f"peak memory {last.peak_bytes / 2**30:.2f} GiB"
    )


_LOOKS: dict[str, Callable[[Tally, Record], None]] = {
    "sample": _answers,
    "edit": _edits,
    "masks": _regions,
    "corrupt": _corruptions,
    "align": _steps,
}
