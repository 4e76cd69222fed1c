"""The five stages as commands: what each reads, its default input, how it is run."""

import os
import shutil
import sys
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import msgspec

from medpo_cli.cli import resume, signals
from medpo_cli.cli.comparing import check_judge, check_metrics, compared, judged, read_steps
from medpo_cli.cli.resume import CORRUPT, SAMPLE
from medpo_cli.cli.session import Session, closing
from medpo_cli.cli.settings import Resolved
from medpo_cli.cli.stage import Stage, check_resumable, manifest_path, to_records
from medpo_cli.errors import CannotCreateError, ExitCode, UsageError
from medpo_cli.io.lock import hold
from medpo_cli.io.log import Messages
from medpo_cli.io.output import Output
from medpo_cli.io.rank import is_follower
from medpo_cli.schema import config as schema
from medpo_cli.schema.records import Case, Pair, Ranking, Record, Sample, Summary

DEMO_FOLDER = Path("medpo-demo")
ADAPTER = "adapter"

Stdout = Callable[[], BinaryIO]


def demo_model(settings: Resolved[Any], messages: Messages) -> Any:
    """The stage's settings with the embedded model where none is named."""
    # The endpoint of eval judges, it does not answer.
    elsewhere = ("compare",) if hasattr(settings.stage, "judge") else ("endpoint",)
    if settings.stage.model or any(getattr(settings.stage, key, "") for key in elsewhere):
        return settings.stage
    from medpo_cli.demo import MODEL

    messages("info", "no model configured: using the embedded demo model")
    return msgspec.structs.replace(settings.stage, model=str(MODEL))


def saliency_model(settings: Resolved[Any], messages: Messages) -> Any:
    """The same where a model is asked at all."""
    return demo_model(settings, messages) if settings.stage.regions == "saliency" else settings.stage


def demo_train_cases(settings: Resolved[Any], messages: Messages) -> Path | None:
    """Cases to sample when neither model nor input is configured."""
    return None if settings.stage.model or settings.stage.endpoint else _demo_cases("train", messages)


def demo_test_cases(settings: Resolved[Any], messages: Messages) -> Path | None:
    """Held-out cases, with corrupted images, when neither model nor input is configured."""
    given = settings.stage.model or settings.stage.compare
    return None if given else _demo_cases("test", messages)


def _demo_cases(split: str, messages: Messages) -> Path:
    from medpo_cli.stages.demo import default_cases

    path = default_cases(DEMO_FOLDER, split)
    messages("info", f"no input configured: using embedded demo cases ({split}), written to ./{path.parent}")
    return path


def pairs_here(_settings: Resolved[Any], messages: Messages) -> Path | None:
    """``align`` alone takes ./pairs.v.jsonl, else ./pairs.jsonl."""
    for name in ("pairs.v.jsonl", "pairs.jsonl"):
        if Path(name).exists():
            messages("info", f"no input given: using ./{name}")
            return Path(name)
    return None


def _sample(stage: Stage, session: Session, config: schema.SampleConfig, stdout: Stdout) -> ExitCode:
    from medpo_cli.stages import sample

    work = lambda records: sample.run(records, config, session.context)  # noqa: E731
    groups = lambda many: sample.answer(many, config, session.context)  # noqa: E731
    return to_records(session, work, stdout, kept=SAMPLE, groups=groups)


def _edit(stage: Stage, session: Session, config: schema.EditConfig, stdout: Stdout) -> ExitCode:
    from medpo_cli.stages import audit, edit, review

    if config.apply_review:
        return to_records(session, lambda records: review.run(records, config, session.context), stdout)
    for path in audit.files(config.audit) if config.audit else ():
        if path.exists() and not (session.stream.force or session.stream.resume):
            raise CannotCreateError(f"{path.name} exists: --force replaces it")
    # The editor balances kinds over the whole stream, so a resumed run must see the stream again.
    return to_records(session, lambda records: edit.run(records, config, session.context), stdout)


def _masks(stage: Stage, session: Session, config: schema.MasksConfig, stdout: Stdout) -> ExitCode:
    from medpo_cli.stages import masks

    work = lambda records: masks.run(records, config, session.context)  # noqa: E731
    return to_records(session, work, stdout, kept=resume.masks(replace=config.replace))


def _corrupt(stage: Stage, session: Session, config: schema.CorruptConfig, stdout: Stdout) -> ExitCode:
    from medpo_cli.stages import corrupt

    work = lambda records: corrupt.run(records, config, session.context)  # noqa: E731
    return to_records(session, work, stdout, kept=CORRUPT)


def _align(stage: Stage, session: Session, config: schema.AlignConfig, stdout: Stdout) -> ExitCode:
    from medpo_cli.stages import align

    settings = session.settings
    folder = Path(settings.output)
    resume = settings.stream.resume
    if config.estimate:
        with closing(session, None, None):
            deque(align.run(session.records, config, session.context, output=folder), maxlen=0)
            return session.exit_code()
    if is_follower():
        deque(align.run(session.records, config, session.context, output=folder, resume=resume), maxlen=0)
        return ExitCode.DONE  # another code would make the launcher end the first process, which is still writing
    manifest = manifest_path(settings)
    if folder.exists() and not (settings.stream.force or settings.stream.resume):
        raise CannotCreateError(f"{folder.name} exists: --force replaces it, --resume goes on with it")
    if config.merge and Path(config.merge).exists() and not (settings.stream.force or settings.stream.resume):
        raise CannotCreateError(f"{Path(config.merge).name} exists: --force replaces it")
    check_resumable(settings, session, manifest)
    output = Output(pipe_only(stdout()), "standard output")
    alone = hold(folder.with_name(f".{folder.name}.lock"), folder.name, remove=True)
    with alone, closing(session, manifest, output):
        session.begin(manifest)
        # The stage looks at the clock itself, so that several processes stop at the same step.
        for record in align.run(session.records, config, session.context, output=folder, resume=resume):
            session.write(record, output)
            signals.check()
        output.finish(session.end(output))
        session.summarize(f"{output.count} steps; adapter in {folder.name}")
        return session.exit_code()


def _eval(stage: Stage, session: Session, config: schema.EvalConfig, stdout: Stdout) -> ExitCode:
    from medpo_cli.evaluation.gate import failures, load_gate
    from medpo_cli.evaluation.text_table import table
    from medpo_cli.stages import eval as evaluation

    summaries: list[Summary] = []
    for option in ("runs", "declare"):
        if getattr(config, option) and not config.compare:
            raise UsageError(f"--{option} needs --compare")
    if config.attention and config.compare:
        raise UsageError("--attention looks into a model; --compare reads scores, which hold what was looked at")
    check_judge(config)
    check_metrics(config)
    bounds = load_gate(Path(config.gate)) if config.gate else []
    if config.html and Path(config.html).exists() and not (session.stream.force or session.stream.resume):
        raise CannotCreateError(f"{Path(config.html).name} exists: --force replaces it")

    training = read_steps(config)

    def work(records: Iterator[Any]) -> Iterator[Record]:
        if config.compare:
            judged = compared(records, config, session.context)
        else:
            judged = evaluation.run(records, config, session.context, training=training)
        for record in judged:
            if isinstance(record, Summary):
                summaries.append(record)
            yield record

    code = to_records(session, work, lambda: pipe_only(stdout()))
    session.messages.show(table(summaries, width=terminal_width()))
    for line in (failed := failures(bounds, summaries)):
        session.messages("error", f"gate: {line}")
    return ExitCode.REJECTS if failed and not session.stream.dry_run else code


def terminal_width() -> int | None:
    """Columns of the terminal that messages go to; None where they go to no terminal."""
    return shutil.get_terminal_size().columns if sys.stderr.isatty() else None


def _only(*kinds: type[Record]) -> Callable[[Any], tuple[type[Record], ...]]:
    return lambda _settings: kinds


def _edited(settings: schema.EditConfig) -> tuple[type[Record], ...]:
    return (Pair,) if settings.apply_review else (Sample,)


def pipe_only(stdout: BinaryIO) -> BinaryIO:
    """Standard output unless it is a terminal, which is spared hundreds of records."""
    return open(os.devnull, "wb") if os.isatty(stdout.fileno()) else stdout


STAGES = {
    stage.name: stage
    for stage in (
        Stage("sample", schema.SampleConfig, _only(Case), _sample, default_input=demo_train_cases, prepare=demo_model),
        Stage("edit", schema.EditConfig, _edited, _edit),
        Stage("masks", schema.MasksConfig, _only(Case, Sample, Pair), _masks, prepare=saliency_model),
        Stage("corrupt", schema.CorruptConfig, _only(Case, Sample, Pair), _corrupt),
        Stage(
            "align",
            schema.AlignConfig,
            _only(Pair, Ranking),
            _align,
            default_input=pairs_here,
            prepare=demo_model,
            default_output=ADAPTER,
            output="adapter folder (default: ./adapter)",
            processes=True,
        ),
        Stage("eval", schema.EvalConfig, judged, _eval, default_input=demo_test_cases, prepare=demo_model),
    )
}
