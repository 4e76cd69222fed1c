"""The run manifest (medpo.run/1): what ran, with what, and what came of it."""

import hashlib
import importlib.metadata
import json
import platform
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from medpo_cli import __version__
from medpo_cli.io.files import short_hash, write_atomic

_PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "numpy", "nibabel", "pydicom", "SimpleITK", "msgspec")


_NO_MATTER = {"jobs"}
"""Settings that change how a run is done and not what comes out."""


def config_digest(settings: dict[str, Any]) -> str:
    """Hash of the settings that decide a stage's output."""
    deciding = {key: value for key, value in settings.items() if key not in _NO_MATTER}
    return hashlib.sha256(json.dumps(deciding, sort_keys=True).encode()).hexdigest()


def run_id(stage: str, digest: str, input_sha256: str) -> str:
    """Identifier of a run: equal for equal program version, settings and input."""
    return short_hash(__version__, stage, digest, input_sha256)


def versions() -> dict[str, str]:
    """Versions of medpo, Python and the packages that can change a result (nothing is imported)."""
    found = {"medpo": __version__, "python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def private(value: str, root: Path) -> str:
    """``value`` without names of what lies outside ``root`` and without what an address may hold of secrets.

    A path under the root is written relative to it (the root's own place would name what lies above), of any other
    the folder is replaced by a hash. Of an address scheme, host and port stay. Words of a command are seen one by one.
    """
    if "/" not in value:
        return value
    if " " in value:
        return " ".join(private(word, root) for word in value.split(" "))
    option, _, tail = value.partition("=") if value.startswith("-") else ("", "", value)
    kept = _address(tail) if "://" in tail else _path(tail, root.resolve())
    return f"{option}={kept}" if option else kept


def _address(url: str) -> str:
    scheme, _, rest = url.partition("://")
    host, _, path = rest.partition("/")
    host = host.rpartition("@")[2]
    return f"{scheme}://{host}" + (f"/{path}" if path in ("", "v1", "v1/") else f"/<hidden:{short_hash(path)}>")


def _path(value: str, root: Path) -> str:
    path = Path(value)
    full = (path if path.is_absolute() else Path.cwd() / path).resolve()
    if full.is_relative_to(root):
        return full.relative_to(root).as_posix()
    return f"<outside:{short_hash(str(path.parent))}>"


class Manifest:
    """Collects the facts of one run and writes them beside its output.

    The first writing (exit code null) marks a run under way, so that ``--resume`` can compare
    settings even after kill -9.
    """

    def __init__(self, stage: str, argv: list[str], settings: dict[str, Any], root: Path) -> None:
        self.digest = config_digest(settings)
        self._begun = time.monotonic()
        self.facts: dict[str, Any] = {
            "schema": "medpo.run/1",
            "stage": stage,
            "argv": [private(word, root) for word in argv],
            "config": {key: private(v, root) if isinstance(v, str) else v for key, v in settings.items()},
            "config_digest": self.digest,
            "versions": versions(),
            "started": _now(),
            "exit_code": None,
        }

    def write(self, path: Path, **facts: Any) -> None:
        """Write the manifest with further facts."""
        self.facts.update(facts)
        write_atomic(path, json.dumps(self.facts, indent=2).encode() + b"\n")

    def finish(self, path: Path, exit_code: int, **facts: Any) -> None:
        """Write the manifest of a run that has ended.

        ``seconds`` is how long it took: ``started`` and ``finished`` are what a clock said that may have been set
        in between.
        """
        seconds = round(time.monotonic() - self._begun, 3)
        self.write(path, finished=_now(), seconds=seconds, exit_code=int(exit_code), **facts)


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def read_digest(path: Path) -> str | None:
    """The settings' digest of an earlier manifest, or None if there is none to read."""
    try:
        digest = json.loads(path.read_bytes()).get("config_digest")
    except (OSError, ValueError, AttributeError, RecursionError):
        return None
    return digest if isinstance(digest, str) else None
