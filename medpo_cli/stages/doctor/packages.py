"""Installed packages against what medpo asks for, from their metadata alone: nothing is imported."""

import importlib.metadata
import re
from collections.abc import Callable, Iterator

from medpo_cli.schema.diagnosis import Diagnosis, error, note, ok, warning

AREA = "packages"
EXTRAS = {
    "codecs": "decode JPEG lossless, JPEG-LS, 12-bit JPEG and HTJ2K compressed DICOM",
    "tensorboard": "align --tensorboard",
}
"""What the optional packages are for."""
_EXTRA = re.compile(r"extra\s*==\s*['\"]([\w-]+)['\"]")
Version = Callable[[str], str | None]


def installed(name: str) -> str | None:
    """Version of an installed package, or None."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def requirements() -> list[str] | None:
    """The requirement lines of the installed medpo; None if it runs from a bare checkout."""
    try:
        return importlib.metadata.requires("medpo") or []
    except importlib.metadata.PackageNotFoundError:
        return None


def look(lines: list[str] | None, version: Version = installed, *, gpu: bool = False) -> Iterator[Diagnosis]:
    """Compare requirement lines with what is there.

    Args:
        lines: as ``requirements`` gives them.
        version: of a package by name.
        gpu: this machine has one, so a torch without CUDA is worth a word.
    """
    if lines is None:
        yield warning(AREA, "medpo", "not installed as a package", "make setup, or pip install . in the checkout")
        return
    optional = {extra: [line for line in lines if _extra(line) == extra] for extra in EXTRAS}
    needed = [line for line in lines if _extra(line) is None]
    problems = [problem for line in needed if (problem := _problem(line, version))]
    yield from problems
    if not problems:
        yield ok(AREA, "required", f"all {len(needed)} as medpo asks for them: {_said(needed, version)}")
    yield from (_optional(extra, wanted, version) for extra, wanted in optional.items() if wanted)
    torch = version("torch")
    if gpu and torch and "+cpu" in torch:
        cure = "install torch with CUDA (https://pytorch.org/get-started) into this environment"
        yield warning(AREA, "torch", f"{torch} cannot use the GPU", cure)


def _extra(line: str) -> str | None:
    found = _EXTRA.search(line)
    return found[1] if found else None


def _problem(line: str, version: Version) -> Diagnosis | None:
    """None where the line is met. ``packaging`` comes with transformers and is missed with it."""
    name, wanted = _name(line), line.partition(";")[0].strip()
    found = version(name)
    cure = f"pip install '{wanted}' (from your wheelhouse: add --no-index --find-links FOLDER)"
    if found is None:
        return error(AREA, name, "missing", cure)
    try:
        from packaging.requirements import Requirement
    except ImportError:
        return None
    if Requirement(wanted).specifier.contains(found, prereleases=True):
        return None
    return error(AREA, name, f"{found} is installed, {wanted} is needed", cure)


def _optional(extra: str, lines: list[str], version: Version) -> Diagnosis:
    problems = [problem for line in lines if (problem := _problem(line, version))]
    if not problems:
        return ok(AREA, extra, f"{EXTRAS[extra]}: {_said(lines, version)}")
    missing = ", ".join(f"{one.subject} {one.text}" for one in problems)
    return note(AREA, extra, f"{missing}; for: {EXTRAS[extra]}", f"pip install 'medpo[{extra}]'")


def _name(line: str) -> str:
    return re.split(r"[^\w.-]", line, maxsplit=1)[0]


def _said(lines: list[str], version: Version) -> str:
    shown = ("torch", "transformers", "peft", "bitsandbytes", "pydicom", "SimpleITK")
    names = [_name(line) for line in lines]
    return ", ".join(f"{name} {version(name)}" for name in names if name in shown or len(names) < len(shown))
