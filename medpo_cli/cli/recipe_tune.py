"""``medpo recipe tune``: a run table in, the name of the run to keep out."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from medpo_cli.errors import BadInputError, CannotCreateError, ExitCode, UsageError

if TYPE_CHECKING:
    from medpo_cli.evaluation.tuning import Answer, Preferences, Table

ANSWERS: "dict[str, Answer]" = {"1": "first", "2": "second", "=": "equal"}
SURE = 0.9
"""Questions stop once a run is the best with this probability."""


def tune(
    runs: Annotated[Path, typer.Argument(metavar="RUNS.jsonl", help="run table: trial records")],
    utility: Annotated[
        Path | None, typer.Option(help="TOML file of [weights] and [bounds] instead of questions")
    ] = None,
    questions: Annotated[int, typer.Option(min=1, help="most questions asked")] = 10,
    save: Annotated[Path | None, typer.Option(help="write the weights learnt as a file for --utility")] = None,
    force: Annotated[bool, typer.Option("--force", help="replace an existing --save file")] = False,
) -> None:
    """Name the run to keep: Pareto front, then your answers about pairs of runs (or --utility).

    Accuracy, hallucination, grounding, drift and cost are weighed. The front and the questions go to standard error,
    the answers (1, 2, =, q) come from standard input, the name goes to standard output.
    """
    from medpo_cli.cli.stage import plain

    plain("recipe tune", lambda: run(runs, utility, questions, save, force=force))


def run(runs: Path, utility: Path | None, questions: int, save: Path | None, *, force: bool) -> ExitCode:
    """Read, show the front, decide, print the name."""
    from medpo_cli.evaluation.tuning import Preferences, recommend
    from medpo_cli.evaluation.utility import allowed, load_utility

    if save is not None and utility is not None:
        raise UsageError("--save keeps what answers taught; with --utility nothing is asked")
    if save is not None and save.exists() and not force:
        raise CannotCreateError(f"{save.name} exists; --force replaces it")
    written = load_utility(utility) if utility else None
    table, problems = _read(runs)
    _say(_front(table))
    if written is not None and utility is not None:
        chosen = recommend(table, written.weights, allowed(table, written, utility.name))
    else:
        learnt = Preferences(table)
        _ask(table, learnt, questions)
        chosen = recommend(table, learnt.weights, table.front)
        _say(_learnt(learnt, chosen))
        if save is not None:
            _save(save, learnt.weights)
    _say(_rows(table, (chosen,), ("",)))
    typer.echo(table.runs[chosen])
    return ExitCode.REJECTS if problems else ExitCode.DONE


def _read(path: Path) -> "tuple[Table, int]":
    """The table of all usable rows, and how many were not; what is wrong with each is said on stderr."""
    from medpo_cli.cli.check import Inspection
    from medpo_cli.evaluation.tuning import tabulate
    from medpo_cli.schema.records import Trial

    inspection = Inspection("recipe tune", path, None, (Trial,))
    trials = [record for record in inspection.reader if isinstance(record, Trial)]
    if not inspection.reader.complete:
        inspection.say(f"{path.name}: no end record: the table may be cut off")
    if len({trial.run for trial in trials}) < 2:
        raise BadInputError(f"{path.name}: fewer than two runs")
    return tabulate(trials), inspection.problems


def _ask(table: "Table", learnt: "Preferences", questions: int) -> None:
    """Ask until one run is surely the best, all pairs were asked, or the answers end."""
    for number in range(1, questions + 1):
        pair = learnt.question()
        if pair is None or max(learnt.chances.values()) >= SURE:
            return
        _say(f"\nQuestion {number}: which run would you keep?")
        _say(_rows(table, pair, ("1", "2")))
        reply = _reply()
        if reply is None:
            if number == 1:
                raise UsageError("nothing answered: answer on a terminal or a pipe, or give --utility FILE")
            return
        learnt.answer(*pair, reply)


def _reply() -> "Answer | None":
    """1, 2 or =; None at q or the end of input."""
    while True:
        sys.stderr.write("1, 2, = (equal) or q (enough): ")
        sys.stderr.flush()
        line = sys.stdin.readline()
        word = line.strip().lower()
        if not sys.stdin.isatty():
            _say("")
        if not line or word == "q":
            return None
        if word in ANSWERS:
            return ANSWERS[word]


def _front(table: "Table") -> str:
    stands = ", ".join(f"{name} by {measure}" for name, measure in table.criteria.items() if name != measure)
    head = f"Pareto front: {len(table.front)} of {len(table.runs)} runs; the others are beaten in every respect"
    return f"{head}\n{_rows(table, table.front, [''] * len(table.front))}\nMeasured: {stands}"


def _rows(table: "Table", runs: "tuple[int, ...]", marks: "list[str] | tuple[str, ...]") -> str:
    """Aligned columns; long names come last, so that nothing has to be cut."""
    from medpo_cli.evaluation.tuning import shown

    lines = [["", *table.criteria, "run"]]
    for mark, number in zip(marks, runs, strict=True):
        cells = zip(table.criteria, table.values[number], strict=True)
        lines.append([mark, *(shown(criterion, float(value)) for criterion, value in cells), table.runs[number]])
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.criteria) + 1)]
    return "\n".join(
        "  ".join([*(cell.rjust(width) for cell, width in zip(line, widths, strict=False)), line[-1]]) for line in lines
    )


def _learnt(learnt: "Preferences", chosen: int) -> str:
    weights = ", ".join(f"{name} {value:.2f}" for name, value in learnt.weights.items())
    return f"\nWeights: {weights}\nThe best with probability {learnt.chances[chosen]:.2f}:"


def _save(path: Path, weights: Mapping[str, float]) -> None:
    from medpo_cli.evaluation.utility import written
    from medpo_cli.io.files import write_atomic

    write_atomic(path, written(weights).encode())


def _say(text: str) -> None:
    typer.echo(text, err=True)
