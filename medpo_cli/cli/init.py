"""``medpo init``: a commented medpo.toml for own data, written from the settings themselves."""

import textwrap
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import typer

from medpo_cli.cli.options import described
from medpo_cli.cli.recipe import settings
from medpo_cli.cli.settings import STAGES, toml
from medpo_cli.errors import CannotCreateError, ExitCode, NoInputError
from medpo_cli.io.files import write_atomic
from medpo_cli.schema.config import StreamConfig

WIDTH = 100
INPUTS = {
    "sample": ("cases.jsonl", "cases: image, prompt, reference, regions"),
    "edit": ("samples.jsonl", "what sample wrote"),
    "corrupt": ("pairs.jsonl", "what edit wrote"),
    "align": ("pairs.v.jsonl", "what corrupt wrote"),
    "eval": ("test.jsonl", "cases that no stage has trained on"),
}
"""Input of each stage, so that the lines of the README work without file names."""
SHOWN = {
    "sample": ("max_tokens", "batch", "n", "temperature", "endpoint"),
    "edit": ("editor", "per_sample", "lexicon", "audit"),
    "corrupt": ("operator", "fallback", "grow", "jobs"),
    "align": ("method", "qlora", "rank", "lora_alpha", "lr", "epochs", "batch", "held_out", "checkpoint_minutes"),
    "eval": ("adapter", "html", "gate", "max_tokens"),
}
"""Settings that are most often changed; ``--all`` shows every one."""
SHARED = ("device", "dtype", "seed")


def run(output: Path, model: str, cases: str, recipe: str, *, everything: bool, force: bool) -> ExitCode:
    """Write the file and say what comes next.

    Args:
        output: the file.
        model: model folder, checked as far as files go; empty: left open.
        cases: input of ``sample``; empty: cases.jsonl.
        recipe: name of a recipe whose settings are taken over.
        everything: show every setting.
        force: replace an existing file.

    Raises:
        CannotCreateError, NoInputError, UnavailableError: the file exists; no such cases; no such model.
    """
    if output.exists() and not force:
        raise CannotCreateError(f"{output.name} exists: --force replaces it")
    if cases and not Path(cases).is_file():
        raise NoInputError(f"cases file {Path(cases).name} not found")
    if model:
        from medpo_cli.models.folder import check_model_folder

        check_model_folder(Path(model))
    taken = tomllib.loads(settings(recipe).read_text("utf-8")) if recipe else {}
    text = "\n".join(lines(model, cases, recipe, taken, everything=everything)) + "\n"
    write_atomic(output, text.encode())
    for line in _next(output, model, cases or INPUTS["sample"][0]):
        typer.echo(line, err=True)
    return ExitCode.DONE


def lines(model: str, cases: str, recipe: str, taken: dict[str, Any], *, everything: bool) -> Iterator[str]:
    """Lines of the file. A line that starts with ``# name =`` is a setting at its built-in value."""
    yield "# Settings of medpo for this folder. Flag > MEDPO_* > this file > built-in."
    yield "# Lines that begin with '# name =' show the built-in value: take the '#' away to change one."
    if recipe:
        yield f"# Settings without '#' below a [table] are those of the recipe {recipe}."
    yield ""
    yield _line("model", model or "/path/to/model", "local Hugging Face image-text model folder", off=not model)
    fields = {field.name: field for field in msgspec.structs.fields(STAGES["sample"])}
    yield from (_shown(fields[name], taken) for name in SHARED)
    stream = {field.name: field for field in msgspec.structs.fields(StreamConfig)}
    yield _shown(stream["require_end"], taken)
    for stage, (given, meaning) in INPUTS.items():
        yield ""
        yield f"[{stage}]"
        yield _line("input", (cases if stage == "sample" else "") or given, meaning, off=False)
        yield from _table(stage, taken.get(stage, {}), everything=everything)


def _table(stage: str, taken: dict[str, Any], *, everything: bool) -> Iterator[str]:
    for field in msgspec.structs.fields(STAGES[stage]):
        wanted = everything or field.name in SHOWN[stage]
        if field.name in taken or (wanted and field.default is not None and field.name not in ("model", *SHARED)):
            yield _shown(field, taken)


def _shown(field: msgspec.structs.FieldInfo, taken: dict[str, Any]) -> str:
    return _line(field.name, taken.get(field.name, field.default), described(field), off=field.name not in taken)


def _line(name: str, value: Any, meaning: str, *, off: bool) -> str:
    """``name = value  # meaning``, the meaning wrapped under itself."""
    lead = f"{'# ' if off else ''}{name} = {toml(value)}"
    lead = f"{lead:<32}  # "
    indent = f"{'#':<{len(lead) - 2}}# " if len(lead) <= 40 else "# "
    return "\n".join(textwrap.wrap(lead + meaning, max(WIDTH, len(lead) + 20), subsequent_indent=indent,
                                   break_long_words=False, break_on_hyphens=False, drop_whitespace=True))  # fmt: skip


def _next(output: Path, model: str, cases: str) -> list[str]:
    """What to do now, in the order in which it is done."""
    steps = [] if model else [f"name your model in {output}"]
    if not Path(cases).is_file():
        steps.append(f"write {cases} (docs/tutorial.md), or: medpo import FORMAT FILE -o {cases}")
    config = "" if output == Path("medpo.toml") else f" --config {output}"
    steps += [f"medpo check {cases}", f"medpo doctor --deep{config}", f"medpo sample{config} -o samples.jsonl"]
    return [f"medpo init: wrote {output}; now:", *(f"  {number}. {step}" for number, step in enumerate(steps, start=1))]
