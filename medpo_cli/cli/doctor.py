"""``medpo doctor``: print what was looked at, each problem with its cure."""

import json
import textwrap
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import msgspec

from medpo_cli.cli.settings import STAGES, resolve
from medpo_cli.errors import ConfigError, ExitCode
from medpo_cli.io.log import plain
from medpo_cli.schema.config import SampleConfig
from medpo_cli.schema.diagnosis import Diagnosis, error, ok

SCHEMA = "medpo.doctor/1"
WIDTH = 80
MARKS = {"ok": "ok", "note": "-", "warning": "!", "error": "ERROR"}
Say = Callable[[str], None]


def run(flags: dict[str, Any], config: str | None, *, deep: bool, as_json: bool, say: Say) -> ExitCode:
    """Look, print on standard output, and return what a stage would end with.

    Args:
        flags: model settings given on the command line; None means not given.
        config: ``--config``.
        deep: also load the model.
        as_json: one object instead of lines.
        say: prints a line.
    """
    from medpo_cli.stages import doctor

    settings, found = _settings(flags, config)
    found += doctor.shallow(settings, Path())
    broken = [one for one in found if one.state == "error" and one.area in ("model", "packages")]
    if deep and not broken:
        found += doctor.deep(settings)
    code = doctor.exit_code(found)
    if as_json:
        entries = [msgspec.to_builtins(one) for one in found]
        say(
            json.dumps(
                {"schema": SCHEMA, "exit_code": int(code), "deep": deep and not broken, "found": entries}, indent=2
            )
        )
        return code
    for line in report(found):
        say(line)
    if deep and broken:
        say("not loaded: the errors above come first")
    return code


def _settings(flags: dict[str, Any], config: str | None) -> tuple[SampleConfig, list[Diagnosis]]:
    """The settings of ``sample``, and whether the configuration holds for every stage."""
    try:
        for stage, kind in STAGES.items():
            resolve(stage, kind, {}, config)
        settings = resolve("sample", SampleConfig, flags, config).stage
    except ConfigError as problem:
        cure = "medpo STAGE --print-config shows what counts; medpo init writes a new file"
        given = {key: value for key, value in flags.items() if value is not None}
        return SampleConfig(**given), [error("settings", "configuration", str(problem), cure, ExitCode.CONFIG)]
    named = (
        Path(config).name if config else ("medpo.toml" if Path("medpo.toml").exists() else "none: built-in settings")
    )
    return settings, [ok("settings", "configuration", named)]


def report(found: Iterable[Diagnosis]) -> list[str]:
    """Lines of at most 80 columns: headings, findings, cures, and a last line that counts."""
    lines: list[str] = []
    area = ""
    counts = dict.fromkeys(MARKS, 0)
    for one in found:
        counts[one.state] += 1
        text, cure = plain(one.text), plain(one.cure)
        if one.area != area:
            lines.append(one.area)
            area = one.area
        lines += _wrapped(f"  {MARKS[one.state]:<6}{one.subject}: ", text)
        if cure:
            lines += _wrapped(f"{'':8}\N{RIGHTWARDS ARROW} ", cure)
    lines.append(_verdict(counts))
    return lines


def _wrapped(lead: str, text: str) -> list[str]:
    return textwrap.wrap(
        lead + text, WIDTH, subsequent_indent=" " * 10, break_long_words=False, break_on_hyphens=False,
        drop_whitespace=True,
    )  # fmt: skip


def _verdict(counts: dict[str, int]) -> str:
    if counts["error"]:
        return f"{counts['error']} errors, {counts['warning']} warnings: not ready"
    if counts["warning"]:
        return f"ready, with {counts['warning']} warnings"
    return "ready"
