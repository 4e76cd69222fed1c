"""Command-line options made from the settings structs, so that a setting is written once.

Each field becomes ``--field-name`` with the field's description as help and its default shown.
Options default to None so that "not given" can be told from "given as the default".
"""

import inspect
import types
from collections.abc import Callable
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import msgspec
import typer

from medpo_cli.cli import pages
from medpo_cli.schema.config import Settings, StreamConfig

_SHORT = {"n": ["-n"], "quiet": ["--quiet", "-q"], "dry_run": ["--dry-run"]}


def with_settings(body: Callable[..., None], stage: str, kind: type[Settings], *, output: str) -> Callable[..., None]:
    """``body(flags)`` as a function that typer reads: INPUT, -o, the stage's and the shared options.

    Args:
        body: called with one dict of what was given.
        stage: its name.
        kind: the stage's settings struct.
        output: help of ``-o``.
    """
    fields = [field for field in msgspec.structs.fields(kind) if not _is_table(field)]
    panels = pages.panels(stage, [field.name for field in fields])
    parameters = [
        _parameter("input", str, typer.Argument(None, show_default=False, help="input file, or - for a pipe")),
        _parameter("output", str, typer.Option(None, "--output", "-o", show_default=False, help=output)),
        *(_option(field, panel) for field, panel in zip(fields, panels, strict=True)),
        *(_option(field, pages.STREAMS) for field in msgspec.structs.fields(StreamConfig)),
        _parameter("config", str, _plain("--config", "configuration file (default: ./medpo.toml)")),
        _parameter("print_config", bool, _plain("--print-config", "print each setting with its source and stop")),
        _parameter("debug", bool, _plain("--debug", "show the traceback of internal errors")),
    ]

    def command(**flags: Any) -> None:
        body(flags)

    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    command.__doc__ = body.__doc__
    return command


def _plain(flag: str, text: str) -> Any:
    metavar = "" if flag in {"--print-config", "--debug"} else None
    return typer.Option(None, flag, help=text, show_default=False, metavar=metavar, rich_help_panel=pages.STREAMS)


def _parameter(name: str, kind: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind | None)


def _option(field: msgspec.structs.FieldInfo, panel: str) -> inspect.Parameter:
    kind, description = _stripped(field.type)[0], described(field)
    flag = "--" + field.name.replace("_", "-")
    flags = _SHORT.get(field.name, [flag])
    if kind is bool:
        flags = [f"{flag}/--no-{field.name.replace('_', '-')}" if field.default else flag, *flags[1:]]
    # The column of types takes its width from the option names: on 80 columns a list of choices cuts names off.
    metavar = "" if kind is bool else None
    if get_origin(kind) is Literal:
        metavar = "<choice>"
    if kind is not bool and field.default not in (None, ""):
        description += f" [default: {field.default}]"
    # typer would read the brackets as rich markup.
    default = typer.Option(
        None,
        *flags,
        help=description.replace("[", r"\["),
        show_default=False,
        metavar=metavar,
        rich_help_panel=panel,
    )
    return _parameter(field.name, kind, default)


def described(field: msgspec.structs.FieldInfo) -> str:
    """What a setting means, with its choices."""
    kind, description = _stripped(field.type)
    if get_origin(kind) is Literal:
        *first, last = get_args(kind)
        description += f" ({', '.join(first)} or {last})"
    return description


def _is_table(field: msgspec.structs.FieldInfo) -> bool:
    """Whether the setting is a list of tables, which only a configuration file can hold."""
    return get_origin(_stripped(field.type)[0]) is list


def _stripped(kind: Any) -> tuple[Any, str]:
    """The bare type and the description of an annotated field type."""
    description = ""
    while get_origin(kind) is Annotated:
        kind, *notes = get_args(kind)
        description = next((n.description for n in notes if isinstance(n, msgspec.Meta) and n.description), description)
    if get_origin(kind) in (Union, types.UnionType):
        kind = next(part for part in get_args(kind) if part is not type(None))
        kind, inner = _stripped(kind)
        description = description or inner
    return kind, description
