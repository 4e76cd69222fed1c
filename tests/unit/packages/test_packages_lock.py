"""requirements.lock: exact, hashed, complete, and within what pyproject.toml asks for."""

import importlib.metadata
import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[3]
LOCK = (ROOT / "requirements.lock").read_text()
PIN = re.compile(r"([A-Za-z0-9._-]+)==([^ ;\\]+)( ; [^\\]+)?")
HASH = re.compile(r"    --hash=sha256:[0-9a-f]{64}")
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKED_EXTRAS = ("dev",)
"""Extras that ``make lock`` takes in."""


def locked() -> dict[str, Version]:
    """Version by name; one version where the lock has several for several machines: that of this one."""
    found = {}
    for block in LOCK.split("\n")[1:]:
        match = PIN.match(block)
        if match and (match[3] is None or Requirement(f"x{match[3]}").marker.evaluate()):  # type: ignore[union-attr]
            found[canonicalize_name(match[1])] = Version(match[2])
    return found


def torch() -> Version:
    """Pinned apart, since each machine may have another build of it."""
    (line,) = (line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#"))
    name, _, version = line.partition("==")
    assert name == "torch"
    return Version(version)


def wanted() -> list[Requirement]:
    extras = [line for extra in LOCKED_EXTRAS for line in PROJECT["optional-dependencies"][extra]]
    return [Requirement(line) for line in [*PROJECT["dependencies"], *extras]]


def test_every_line_is_a_pin_or_a_hash_and_no_host_is_named() -> None:
    first, *lines = LOCK.rstrip("\n").split("\n")
    assert first.startswith("# ")
    pins = 0
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        bare = line.removesuffix(" \\")
        assert PIN.fullmatch(bare) or HASH.fullmatch(bare), line
        assert line.endswith(" \\") == following.startswith("    --hash"), "a pin without its hashes"
        if PIN.fullmatch(bare):
            pins += 1
            assert following.startswith("    --hash")
    assert pins > 50
    assert "//" not in LOCK


@pytest.mark.parametrize("requirement", wanted(), ids=lambda one: str(one.name))
def test_what_the_project_asks_for_is_locked_within_its_range(requirement: Requirement) -> None:
    version = (locked() | {"torch": torch()})[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(version), f"{requirement} but {version} is locked: make lock"


def test_what_locked_packages_ask_for_is_locked_too() -> None:
    """``make setup`` installs with --no-deps, so what the lock forgets is missing; judged by what is installed here."""
    versions = locked() | {"torch": torch()}
    compared = 0
    for name, version in versions.items():
        try:
            distribution = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue
        if Version(distribution.version).public != version.public:
            continue
        compared += 1
        for line in distribution.requires or []:
            needed = Requirement(line)
            if needed.marker is not None and not needed.marker.evaluate({"extra": ""}):
                continue
            key = canonicalize_name(needed.name)
            if name == "torch" and key not in versions:
                continue  # the CUDA packages of a build for GPUs come with it
            assert key in versions, f"{name} needs {needed}, which is not locked: make lock"
            assert needed.specifier.contains(versions[key], prereleases=True), f"{name} needs {needed}"
    assert compared > 40


def test_setup_takes_nothing_whose_hash_is_not_locked() -> None:
    lines = [line for line in (ROOT / "Makefile").read_text().splitlines() if "-r requirements.lock" in line]
    assert lines
    assert all("--require-hashes --no-deps" in line for line in lines)


def test_the_oldest_python_is_the_one_that_was_locked_for() -> None:
    assert SpecifierSet(PROJECT["requires-python"]).contains("3.11")
    assert "--python-version 3.11" in (ROOT / "Makefile").read_text()
