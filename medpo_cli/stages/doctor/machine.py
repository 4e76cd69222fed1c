"""The machine as the standard library sees it: Python, memory, disk, GPU, switches."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from medpo_cli import __version__
from medpo_cli.errors import ExitCode
from medpo_cli.schema.diagnosis import Diagnosis, error, note, ok, warning

AREA = "machine"
GIB = 1 << 30
OLDEST_PYTHON = (3, 11)
LOW_MEMORY, LOW_DISK = 4 * GIB, 2 * GIB
"""A resident torch with the embedded model takes about 1 GiB; a rank-128 adapter of a 7B model and two checkpoints
with their optimizer about 2."""
OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY")
NVIDIA_SMI = ("--query-gpu=name,memory.total,memory.free,driver_version", "--format=csv,noheader,nounits")
DRIVER = Path("/proc/driver/nvidia/version")


def look(environment: Mapping[str, str], folder: Path) -> Iterator[Diagnosis]:
    """Everything about the machine, in the order in which it is printed.

    Args:
        environment: the process's variables.
        folder: where outputs would go.
    """
    yield python()
    yield processors(environment)
    yield memory(Path("/proc/meminfo"), Path("/sys/fs/cgroup"))
    yield from disks(folder)
    yield from gpus(environment)
    yield offline(environment)


def python() -> Diagnosis:
    """The interpreter."""
    text = f"medpo {__version__}, Python {platform.python_version()}, {platform.system()} {platform.machine()}"
    if sys.version_info < OLDEST_PYTHON:
        return error(AREA, "python", text, "install Python 3.11 or newer and make the environment again")
    if platform.system() == "Windows":
        return error(AREA, "python", text, "use Linux or WSL 2: locks and signals of Windows are not supported")
    return ok(AREA, "python", text)


def processors(environment: Mapping[str, str]) -> Diagnosis:
    """Cores that this process may use, and whether threads are limited to them."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    threads = environment.get("OMP_NUM_THREADS", "")
    text = f"{cores} cores" + (f", OMP_NUM_THREADS={threads}" if threads else "")
    if threads.isdigit() and int(threads) > cores:
        return warning(AREA, "cores", text, f"set OMP_NUM_THREADS={cores}: more threads than cores slow each other")
    return ok(AREA, "cores", text)


def memory(meminfo: Path, cgroup: Path) -> Diagnosis:
    """Memory that is free, the limit of a container taken into account."""
    sizes = _meminfo(meminfo)
    if not sizes:
        return note(AREA, "memory", "unknown on this system", "watch it yourself while a stage runs")
    total, free = sizes["MemTotal"], sizes["MemAvailable"]
    limit = _number(cgroup / "memory.max")
    if limit is not None and limit < total:
        total, free = limit, min(free, limit - (_number(cgroup / "memory.current") or 0))
    text = f"{free / GIB:.1f} of {total / GIB:.1f} GiB free"
    if free < LOW_MEMORY:
        return warning(AREA, "memory", text, "end other programs, or give the container more memory (docker run -m)")
    return ok(AREA, "memory", text)


def _meminfo(path: Path) -> dict[str, int]:
    try:
        lines = [line.split() for line in path.read_text().splitlines()]
    except OSError:
        return {}
    return {name.rstrip(":"): int(size) << 10 for name, size, *_ in lines}


def _number(path: Path) -> int | None:
    """The number in a file; None where the kernel has no such file or says ``max``."""
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def disks(folder: Path) -> Iterator[Diagnosis]:
    """Room and permission where outputs and temporary files go."""
    for subject, place in (("folder", folder), ("temporary files", Path(tempfile.gettempdir()))):
        if not os.access(place, os.W_OK | os.X_OK):
            cure = (
                "change to a folder of yours, or give -o" if subject == "folder" else "set TMPDIR to a folder of yours"
            )
            yield error(AREA, subject, "cannot be written", cure, ExitCode.CANNOT_CREATE)
            continue
        free = shutil.disk_usage(place).free
        text = f"{free / GIB:.1f} GiB free"
        if free < LOW_DISK:
            yield warning(AREA, subject, text, "make room: an adapter with its checkpoints takes up to 2 GiB")
        else:
            yield ok(AREA, subject, text)


def gpus(environment: Mapping[str, str]) -> Iterator[Diagnosis]:
    """What nvidia-smi sees; torch is not asked (``--deep`` does)."""
    found = nvidia_smi()
    if found is None:
        if DRIVER.exists():
            cure = "install nvidia-smi (in a container: --gpus all), or look with --deep"
            yield warning(AREA, "gpu", "a driver is loaded, but nvidia-smi does not answer", cure)
        else:
            yield note(AREA, "gpu", "none", "the demo needs none; a 4B model wants 12 GB (recipes/qlora-12gb.toml)")
        return
    hidden = environment.get("CUDA_VISIBLE_DEVICES")
    if hidden is not None and hidden.strip() in ("", "-1"):
        yield warning(AREA, "gpu", "hidden by CUDA_VISIBLE_DEVICES", "unset CUDA_VISIBLE_DEVICES")
    for number, (name, total, free, driver) in enumerate(found):
        text = f"{name}, {free / 1024:.1f} of {total / 1024:.1f} GiB free, driver {driver}"
        if free < total / 2:
            cure = (
                "another program uses it: wait, or choose another (--device cuda:N); stages end with 75 if it is full"
            )
            yield warning(AREA, f"gpu {number}", text, cure)
        else:
            yield ok(AREA, f"gpu {number}", text)


def nvidia_smi() -> list[tuple[str, float, float, str]] | None:
    """(name, MiB in all, MiB free, driver) of each GPU; None without a program that answers in ten seconds."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return None
    try:
        done = subprocess.run(  # noqa: S603  (found on the user's own PATH, fixed words)
            [program, *NVIDIA_SMI], capture_output=True, text=True, timeout=10, check=True, stdin=subprocess.DEVNULL
        )
        rows = [[cell.strip() for cell in line.split(",")] for line in done.stdout.splitlines() if line.strip()]
        return [(name, float(total), float(free), driver) for name, total, free, driver in rows] or None
    except (OSError, subprocess.SubprocessError, ValueError):
        return None


def offline(environment: Mapping[str, str]) -> Diagnosis:
    """The switches that keep the libraries off the network; the medpo command sets them itself."""
    off = [name for name in OFFLINE if environment.get(name, "").upper() not in ("1", "TRUE", "YES", "ON")]
    if off:
        return warning(AREA, "network", f"not offline: {', '.join(off)}", f"export {' '.join(f'{n}=1' for n in off)}")
    return ok(AREA, "network", "offline: models and data are read from this machine only")
