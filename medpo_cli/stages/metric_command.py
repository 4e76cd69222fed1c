"""A program that scores reports, spoken to in JSON lines (docs/how-to/report-metrics.md).

    it says   {"protocol": "medpo-metric/1", "name": "bertscore", "version": "1", "values": ["f1"]}
    we ask    {"request": 1, "answer": "...", "reference": "..."}
    it says   {"request": 1, "values": {"f1": 0.87}}

One that is late, crashes or speaks otherwise is ended with all its children, and started anew for the next report.
"""

from dataclasses import dataclass
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from medpo_cli.errors import MedpoError, UnavailableError
from medpo_cli.evaluation.green import green_score
from medpo_cli.evaluation.metric_file import Program
from medpo_cli.evaluation.metric_measures import LABELS, RESERVED, label_counts, value_counts
from medpo_cli.io.child import Child, ChildError

MAX_FAILURES = 3
"""So many in a row, and the program is given up: it would only cost a time limit for every report."""
_GIB = 2**30

Word = Annotated[str, Meta(pattern=r"^[A-Za-z0-9._+\-]{1,100}$(?!\n)")]
Key = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_\-]{1,40}$(?!\n)")]
Flag = Literal[0, 1]


class Hello(msgspec.Struct, forbid_unknown_fields=True):
    """The program's first line: who it is and which one of three kinds of answers it gives."""

    protocol: Literal["medpo-metric/1"]
    name: Word
    version: Word
    values: list[Key] = []
    labels: list[Key] = []
    subsets: dict[Key, list[Key]] = {}
    analysis: Literal["green"] | None = None
    missing: str = ""

    @property
    def sound(self) -> bool:
        """Exactly one kind, no name twice or one of ours, subsets of what there is."""
        kinds = [bool(self.values), bool(self.labels), self.analysis is not None]
        names = [*self.values, *self.labels]
        ours = any(name in RESERVED or name.startswith(LABELS) for name in self.values)
        parts = all(part and set(part) <= set(self.labels) for part in self.subsets.values())
        return sum(kinds) == 1 and len(set(names)) == len(names) and not ours and parts


class Reply(msgspec.Struct, forbid_unknown_fields=True):
    """The program's answer about one report: numbers, or labels of both texts, or an analysis, or that it cannot."""

    request: int
    values: dict[str, float] | None = None
    answer: list[Flag] | None = None
    reference: list[Flag] | None = None
    analysis: str | None = None
    error: bool = False


@dataclass(frozen=True)
class Skipped:
    """A metric that is not measured, and why."""

    reason: str


class MetricCommand:
    """A running program.

    Args:
        name: of the metric.
        program: its table in the file.
    """

    def __init__(self, name: str, program: Program) -> None:
        self.name = name
        self._limits = program
        self._child = Child(program.words, None, f"program of metric {name}", memory=int(program.memory_gb * _GIB))
        self._hello: Hello | None = None
        self._asked = self._failures = 0

    def start(self) -> Skipped | None:
        """Start it and hear its first line; says why it cannot be used."""
        if missing := self._limits.missing:
            return Skipped(f"weights not found ({missing})")
        try:
            hello = self._heard()
        except ChildError as error:
            self._child.end()
            return Skipped(f"the program was not ready ({error.reason})")
        except UnavailableError:
            return Skipped("the program cannot be started")
        if hello.missing:
            self._child.end()
            return Skipped("weights not found (says the program)")
        self._hello = hello
        return None

    @property
    def definition(self) -> dict[str, object]:
        """What scores say of it: name, version, subsets of labels."""
        hello = self._told
        return {"program": f"{hello.name} {hello.version}"} | ({"subsets": hello.subsets} if hello.subsets else {})

    def counts(self, answer: str, reference: str) -> dict[str, float]:
        """Its counts for one answer.

        Raises:
            ChildError: ``timeout``, ``crash``, ``protocol`` (also NaN and infinity, which are no JSON), ``unread``,
                ``refused``; ``given-up`` after several in a row.
            UnavailableError: started anew, it is another program.
        """
        if self._failures >= MAX_FAILURES:
            raise ChildError("given-up", "it failed too often")
        try:
            return self._counts(self._reply(answer, reference))
        except ChildError as error:
            self._failed(error)
            raise

    def close(self) -> None:
        """End it."""
        self._child.end()

    @property
    def _told(self) -> Hello:
        assert self._hello is not None  # noqa: S101 - start() succeeded
        return self._hello

    def _failed(self, error: ChildError) -> None:
        """One that answered, but without a number, may go on; any other is ended."""
        if error.reason in ("refused", "unread"):
            self._failures = 0
            return
        self._child.end()
        self._failures += 1

    def _heard(self) -> Hello:
        self._child.start()
        hello = self._child.read(Hello, self._limits.startup)
        if not hello.missing and not hello.sound:
            raise ChildError("protocol", "it does not say what it measures")
        return hello

    def _reply(self, answer: str, reference: str) -> Reply:
        if not self._child.runs and self._heard() != self._hello:
            raise UnavailableError(f"the program of metric {self.name} changed while it was used")
        self._asked += 1
        line = msgspec.json.encode({"request": self._asked, "answer": answer, "reference": reference})
        self._child.write(line, self._limits.seconds)
        reply = self._child.read(Reply, self._limits.seconds)
        if reply.request != self._asked:
            raise ChildError("protocol", "it answered another request")
        return reply

    def _counts(self, reply: Reply) -> dict[str, float]:
        if reply.error:
            raise ChildError("refused", "it reports an error for this report")
        hello = self._told
        if hello.analysis is not None and reply.analysis is not None:
            counts = value_counts(self.name, {"green": _green(reply.analysis)})
        elif hello.labels and reply.answer is not None and reply.reference is not None:
            counts = self._labelled(reply.answer, reply.reference)
        elif hello.values and reply.values is not None and set(reply.values) == set(hello.values):
            counts = value_counts(self.name, {name: reply.values[name] for name in hello.values})
        else:
            raise ChildError("protocol", "it does not answer what it said it would")
        self._failures = 0
        return counts

    def _labelled(self, answer: list[Flag], reference: list[Flag]) -> dict[str, float]:
        labels = self._told.labels
        if len(answer) != len(labels) or len(reference) != len(labels):
            raise ChildError("protocol", "it gives another number of labels than it has")
        said, truth = (dict(zip(labels, map(bool, one), strict=True)) for one in (answer, reference))
        return label_counts(self.name, said, truth, self._told.subsets)


def _green(text: str) -> float:
    value = green_score(text)
    if value is None:
        raise ChildError("unread", "the analysis has no sections")
    return value


def opened(name: str, program: Program, *, required: bool) -> MetricCommand | Skipped:
    """The program, ready; or why it is left out.

    Raises:
        UnavailableError: it is required.
        ConfigError: its command has unclosed quotes.
    """
    command = MetricCommand(name, program)
    try:
        skipped = command.start()
    except MedpoError:
        command.close()
        raise
    if skipped is None:
        return command
    if required:
        raise UnavailableError(f"metric {name} (--require): {skipped.reason}")
    return skipped
