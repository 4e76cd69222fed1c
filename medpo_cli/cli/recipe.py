"""``medpo recipe``: the configuration files and scripts that come with medpo, listed and copied."""

import ast
import difflib
import shutil
import textwrap
from pathlib import Path
from typing import Annotated

import typer

from medpo_cli.cli.recipe_tune import tune
from medpo_cli.errors import CannotCreateError, ExitCode, NoInputError, UnavailableError, UsageError
from medpo_cli.io.files import atomic_path

WIDTH = 80
NAMES = 22
HIDDEN = frozenset({"README.md"})

group = typer.Typer(
    no_args_is_help=True,
    help="Configuration files and scripts that come with medpo; which run's settings to keep.",
    epilog="medpo recipe cp mdpo  then  medpo align --config mdpo.toml",
)
group.command("tune")(tune)


@group.command("ls")
def ls(
    pattern: Annotated[str, typer.Argument(help="only those with this in their name or description")] = "",
) -> None:
    """List recipes with what each is for."""
    from medpo_cli.cli.stage import plain

    plain("recipe ls", lambda: _list(pattern))


@group.command("cp")
def cp(
    name: Annotated[str, typer.Argument(help="as ls shows it; .toml may be left out")],
    to: Annotated[Path, typer.Argument(help="file or folder")] = Path(),
    force: Annotated[bool, typer.Option("--force", help="replace an existing file")] = False,
) -> None:
    """Copy a recipe into your project, to be changed there."""
    from medpo_cli.cli.stage import plain

    plain("recipe cp", lambda: _copy(name, to, force=force))


def shelf() -> Path:
    """The folder of the recipes: inside the installed package, else the checkout's.

    Raises:
        UnavailableError: neither is there.
    """
    package = Path(__file__).parents[1]
    for folder in (package / "recipes", package.parent / "recipes"):
        if (folder / "paper.toml").is_file():
            return folder
    raise UnavailableError("the recipes are not installed: pip install medpo again, from a wheel")


def files(folder: Path) -> dict[str, Path]:
    """Every file by its path below ``folder``: settings first, then scripts and what lies in folders."""
    found = [path for path in folder.rglob("*") if path.is_file() and path.name not in HIDDEN]
    found = [path for path in found if "__pycache__" not in path.parts]
    names = {path.relative_to(folder).as_posix(): path for path in found}
    return dict(sorted(names.items(), key=lambda item: (not item[0].endswith(".toml"), item[0])))


def settings(name: str) -> Path:
    """The recipe of this name if it holds settings of stages; raises UsageError if not, else as ``find``."""
    path = find(name)
    if path.parent != shelf() or path.suffix != ".toml":
        raise UsageError(f"{name} holds no settings of stages: medpo recipe cp copies it")
    return path


def find(name: str) -> Path:
    """The recipe of this name, with or without ``.toml``.

    Raises:
        NoInputError: there is none; the nearest is named.
    """
    there = files(shelf())
    if path := there.get(name) or there.get(f"{name}.toml"):
        return path
    near = difflib.get_close_matches(name, [*there, *(Path(one).stem for one in there)], n=1, cutoff=0.5)
    hint = f"did you mean {near[0]}?" if near else "medpo recipe ls shows all"
    raise NoInputError(f"no recipe of this name; {hint}")


def summary(path: Path) -> str:
    """Its first sentence of comment or docstring, without markup."""
    lines = path.read_text("utf-8", errors="replace").splitlines()
    started = [line.lstrip("#/ ").strip("\"' ") for line in lines if not line.startswith("#!") and line.strip()]
    return started[0] if started else ""


def companions(path: Path) -> list[Path]:
    """The files beside a Python recipe that it imports, and without which it does not run."""
    if path.suffix != ".py":
        return []
    names = [node.module for node in ast.parse(path.read_text("utf-8")).body if isinstance(node, ast.ImportFrom)]
    return [one for name in names if name and (one := path.with_name(f"{name}.py")).is_file()]


def _list(pattern: str) -> ExitCode:
    found = {name: summary(path) for name, path in files(shelf()).items()}
    shown = {n: text for n, text in found.items() if pattern.lower() in f"{n} {text}".lower()}
    if not shown:
        raise NoInputError("no recipe has this in its name or description; medpo recipe ls shows all")
    for name, text in shown.items():
        lead = name.removesuffix(".toml").ljust(NAMES - 1) + " "
        typer.echo("\n".join(textwrap.wrap(lead + text, WIDTH, subsequent_indent=" " * NAMES, break_long_words=False)))
    return ExitCode.DONE


def _copy(name: str, to: Path, *, force: bool) -> ExitCode:
    source = find(name)
    target = to / source.name if to.is_dir() else to
    if target.exists() and not force:
        raise CannotCreateError(f"{target.name} exists: --force replaces it")
    beside = {target.parent / one.name: one for one in companions(source)}
    for place, one in beside.items():
        if place.exists() and not force and place.read_bytes() != one.read_bytes():
            raise CannotCreateError(f"{place.name} exists and is another file: --force replaces it")
    for place, one in {target: source, **beside}.items():
        with atomic_path(place) as temporary:
            shutil.copy(one, temporary)  # with its mode: scripts stay executable
    settings = source.suffix == ".toml" and source.parent == shelf()  # in folders lie files for other ends
    use = f": medpo STAGE --config {target}" if settings else "".join(f" and {place}" for place in beside)
    typer.echo(f"medpo recipe cp: wrote {target}{use}", err=True)
    return ExitCode.DONE
