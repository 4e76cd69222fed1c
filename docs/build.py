"""Make the generated pages of docs/reference/ from the code, and check every link.

python docs/build.py           write the pages
python docs/build.py --check   fail if a page is stale or a link is dead
"""

import ast
import inspect
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
from pages_methods import methods

from medpo_cli.cli.settings import STAGES
from medpo_cli.errors import ExitCode
from medpo_cli.schema import extras
from medpo_cli.schema import records as schema_records
from medpo_cli.schema.config import StreamConfig
from medpo_cli.schema.records import RECORDS, Part

REJECTORS = {"RecordError"}
HERE = Path(__file__).parent
COMMANDS = [
    "sample",
    "edit",
    "masks",
    "corrupt",
    "align",
    "eval",
    "demo",
    "merge",
    "check",
    "show",
    "schema",
    "init",
    "recipe",
    "recipe ls",
    "recipe cp",
    "doctor",
]
NOTE = "<!-- Made by `make docs` from the code; do not edit. -->\n\n"

MEANING = {
    ExitCode.DONE: "done",
    ExitCode.USAGE: "the command line is wrong, or there is nothing to read",
    ExitCode.REJECTS: "finished, but some records were rejected (see `--rejects`)",
    ExitCode.BAD_INPUT: "bad input, or input cut off before its end record (with `--require-end`)",
    ExitCode.NO_INPUT: "a named input does not exist",
    ExitCode.UNAVAILABLE: "a model, a GPU or an optional package is missing; the message names the cure",
    ExitCode.INTERNAL: "internal error: a bug in medpo (`--debug` shows the traceback)",
    ExitCode.CANNOT_CREATE: "the output exists (`--force`, `--resume`) or cannot be created",
    ExitCode.IO_ERROR: "writing failed midway: disk full, I/O error",
    ExitCode.TRY_LATER: "not now: lock held, out of memory, or `--max-minutes` reached with the state saved",
    ExitCode.CONFIG: "a configuration file, variable or resumed run disagrees",
    ExitCode.SIGHUP: "ended by SIGHUP",
    ExitCode.SIGINT: "ended by SIGINT (Ctrl-C)",
    ExitCode.SIGPIPE: "the reader of our output went away (`| head`)",
    ExitCode.SIGTERM: "ended by SIGTERM",
}


def exit_codes() -> str:
    """The table of exit codes."""
    rows = "\n".join(f"| {int(code)} | {MEANING[code]} |" for code in ExitCode)
    return f"# Exit codes\n\n| code | meaning |\n|---:|---|\n{rows}\n"


def records() -> str:
    """Every record kind, then the objects inside them, with their fields."""
    intro = "One JSON object per line; `schema` comes first. `medpo schema NAME` prints the JSON Schema."
    found = [f"# Records\n\n{intro}\n"]
    found += [_struct(name, kind, f"`medpo.{name}/1`: ") for name, kind in RECORDS.items()]
    inside = [kind for kind in vars(schema_records).values() if isinstance(kind, type) and issubclass(kind, Part)]
    found += [_struct(kind.__name__, kind, "Inside records: ") for kind in inside if kind is not Part]
    mine = [kind for kind in vars(extras).values() if getattr(kind, "__module__", "") == extras.__name__]
    found += [_struct(kind.__name__, kind, "In `ext.align`: ") for kind in mine if isinstance(kind, type)]
    return "".join(found)


def _struct(name: str, kind: type[msgspec.Struct], lead: str) -> str:
    head = f"\n## {name}\n\n{lead}{inspect.getdoc(kind)}\n\n| field | type | required |\n|---|---|---|\n"
    rows = (
        f"| `{field.encode_name}` | `{_type(field.type)}` | {'yes' if field.required else ''} |\n"
        for field in msgspec.structs.fields(kind)
    )
    return head + "".join(rows)


def _type(kind: Any) -> str:
    text = re.sub(r"<class '([^']+)'>", r"\1", str(kind))
    text = re.sub(r"typing\.|medpo_cli\.schema\.records\.", "", text)
    text = re.sub(r"Annotated\[(.+?), (?:msgspec\.)?Meta\([^\[\]]*?(?:\[[^\]]*\][^\[\]]*?)*\)\]", r"\1", text)
    return text.replace("|", "\\|").replace("NoneType", "None")


def settings() -> str:
    """Every setting of every stage with default, variable and meaning."""
    parts = ["# Settings\n\nFlag > `MEDPO_*` > `--config FILE` or `./medpo.toml` > built-in.\n"]
    for name, kind in [*STAGES.items(), ("every stage", StreamConfig)]:
        parts.append(f"\n## {name}\n\n| key | flag | default | meaning |\n|---|---|---|---|\n")
        for field in msgspec.structs.fields(kind):
            default = "" if field.default in (None, "") else msgspec.json.encode(field.default).decode()
            flag = f"--{field.name.replace('_', '-')}" if field.name != "n" else "-n"
            parts.append(f"| `{field.name}` | `{flag}` | {default} | {_description(field.type)} |\n")
    return "".join(parts)


def _description(kind: Any) -> str:
    notes = [note for note in getattr(kind, "__metadata__", ()) if isinstance(note, msgspec.Meta)]
    return next((note.description for note in notes if note.description), "").replace("|", "\\|")


def commands() -> str:
    """``--help`` of every command."""
    parts = ["# Commands\n"]
    for command in ["", *COMMANDS]:
        words = ["medpo", *command.split(), "--help"]
        environment = {"PATH": str(Path(sys.executable).parent), "COLUMNS": "100", "TERM": "dumb", "NO_COLOR": "1"}
        done = subprocess.run(words, capture_output=True, text=True, check=True, env=environment)
        text = "\n".join(line.rstrip() for line in done.stdout.strip().splitlines())
        parts.append(f"\n## {' '.join(words[:-1])}\n\n```text\n{text}\n```\n")
    return "".join(parts)


def rejects() -> str:
    """Every reject code in the source with its messages."""
    found: dict[str, set[str]] = {}
    for path in sorted((HERE.parent / "medpo_cli").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in REJECTORS and len(node.args) > 1:
                code, message = node.args[:2]
                if isinstance(code, ast.Constant) and isinstance(code.value, str):
                    found.setdefault(code.value, set()).add(_text(message))
    rows = "\n".join(f"| `{code}` | {'; '.join(sorted(found[code] - {''}))} |" for code in sorted(found))
    intro = "The `code` of a `medpo.reject/1` record; `…` stands for a number or a name."
    return f"# Reject codes\n\n{intro}\n\n| code | message |\n|---|---|\n{rows}\n"


def _text(node: ast.expr) -> str:
    """A message as written in the source, with an ellipsis for what is filled in."""
    if isinstance(node, ast.Constant):
        return str(node.value).replace("|", "\\|")
    if isinstance(node, ast.JoinedStr):
        return "".join(_text(part) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return ""


PAGES = {
    "methods.md": methods,
    "rejects.md": rejects,
    "exit-codes.md": exit_codes,
    "records.md": records,
    "settings.md": settings,
    "commands.md": commands,
}


def dead_links(root: Path) -> list[str]:
    """Relative links of all Markdown pages that lead nowhere."""
    dead = []
    for page in sorted(root.glob("*.md")) + sorted((root / "docs").rglob("*.md")):
        targets = re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
        gone = (t for t in targets if "://" not in t and not (page.parent / t).exists())
        dead += [f"{page.relative_to(root)}: {target}" for target in gone]
    return dead


def main() -> int:
    """Write or check."""
    check = "--check" in sys.argv
    problems = []
    for name, make in PAGES.items():
        page, text = HERE / "reference" / name, NOTE + make()
        if not check:
            page.parent.mkdir(exist_ok=True)
            page.write_text(text, "utf-8")
        elif not page.exists() or page.read_text("utf-8") != text:
            problems.append(f"docs/reference/{name} is stale: run make docs")
    problems += dead_links(HERE.parent)
    for problem in problems:
        print(problem, file=sys.stderr)
    return bool(problems)


if __name__ == "__main__":
    sys.exit(main())
