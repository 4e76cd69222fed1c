"""How fast ``corrupt`` is: records a second on demo-like pictures, a 512x512 slice and a volume; memory; workers.

Run: ``python benchmarks/corrupt.py [--records 60]``; one thread (set OMP_NUM_THREADS=1). Each record has
its own image; times hold reading, the operator (for the control, too), writing .nii.gz, reading again and the
proof. ``gzip`` is the part of it that packing and unpacking takes. Memory is what a volume adds to the
process, over the volume's size.
"""

import argparse
import itertools
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image as Pillow

from medpo_cli.imaging import nifti
from medpo_cli.imaging.image import Image, frozen
from medpo_cli.io.context import Context
from medpo_cli.io.stream import encode
from medpo_cli.schema.config import CorruptConfig
from medpo_cli.schema.records import Case, ImageRef, MaskRef, Region
from medpo_cli.stages.corrupt import run

VOLUME = (256, 256, 256)


class Timed:
    """A packer or unpacker of zlib that adds up the time its work takes."""

    seconds = 0.0

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.inner, name)
        return self.timed(value) if callable(value) else value

    @classmethod
    def timed(cls, work: Callable[..., Any]) -> Callable[..., Any]:
        """``work`` under the clock."""

        def clocked(*args: Any, **options: Any) -> Any:
            start = time.perf_counter()
            try:
                return work(*args, **options)
            finally:
                cls.seconds += time.perf_counter() - start

        return clocked


def body(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Textured ellipsoid on zero, [x, y, z] on 0-255."""
    grid = np.meshgrid(*[np.linspace(-1, 1, size) if size > 1 else np.zeros(1) for size in shape], indexing="ij")
    inside = sum(axis**2 for axis in grid) < 0.85
    return np.where(inside, np.clip(120 + rng.normal(0, 6, shape), 1, 255), 0)


def ball(shape: tuple[int, ...], radius: float) -> np.ndarray:
    """Lesion of ``radius`` voxels left of the middle."""
    center = [int(shape[0] * 0.32), int(shape[1] * 0.5), shape[2] // 2]
    grid = np.ogrid[tuple(slice(0, size) for size in shape)]
    return np.asarray(sum((axis - middle) ** 2 for axis, middle in zip(grid, center, strict=True)) <= radius**2)


def cases(root: Path, name: str, shape: tuple[int, ...], radius: float, count: int) -> Iterator[Case]:
    """``count`` records, each with its own picture (8-bit PNG) or volume (int16 NIfTI)."""
    rng = np.random.default_rng(0)
    mask = ball(shape, radius)
    affine = np.diag([-0.7, -0.7, 1.5, 1.0]).astype(np.float32).astype(np.float64) if shape[2] > 1 else None
    grid = Image(array=frozen(mask.astype(np.uint8)), kind="nifti", affine=affine)
    (root / f"{name}-mask.nii.gz").write_bytes(nifti.encode(grid, grid.array))
    for number in range(count):
        array = body(shape, rng) + 40 * mask
        if affine is None:
            path = f"{name}-{number}.png"
            Pillow.fromarray(np.clip(array[:, :, 0].T, 0, 255).astype(np.uint8)).save(root / path)
        else:
            path = f"{name}-{number}.nii.gz"
            image = Image(array=frozen(array.astype(np.int16)), kind="nifti", affine=affine)
            (root / path).write_bytes(nifti.encode(image, image.array))
        region = Region(label="nodule", mask=MaskRef(path=f"{name}-mask.nii.gz"))
        frame = shape[2] // 2 if shape[2] > 1 else None
        yield Case(
            id=f"{name}-{number}", image=ImageRef(path=path, frame=frame), prompt="p", task="report", regions=[region]
        )


def speed(count: int) -> None:
    """One row for each size and operator."""
    pack, unpack = zlib.compressobj, zlib.decompressobj
    zlib.compressobj = lambda *args, **options: Timed(pack(*args, **options))  # type: ignore[assignment]
    zlib.decompressobj = lambda *args, **options: Timed(unpack(*args, **options))  # type: ignore[assignment]
    sizes = (
        ("96x96", (96, 96, 1), 8, count),
        ("512x512", (512, 512, 1), 27, count // 6),
        ("256x256x256", VOLUME, 16, 2),
    )
    print(f"{'image':>12} {'operator':>17} {'control':>8} {'ms/record':>10} {'gzip':>7} {'rest':>8} {'CPU ms':>8}")
    for (name, shape, radius, number), operator, control in itertools.product(
        sizes, ("harmonic-texture", "harmonic", "mirror", "gaussian"), (True, False)
    ):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            records = list(cases(root, name, shape, radius, max(1, number)))
            Timed.seconds = 0.0
            wall, cpu = time.perf_counter(), time.process_time()
            done = list(run(records, CorruptConfig(operator=operator, control=control), Context(root)))
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            assert all(record.corrupted is not None for record in done)
        each, packing = 1000 * wall / len(done), 1000 * Timed.seconds / len(done)
        print(
            f"{name:>12} {operator:>17} {control!s:>8} {each:10.1f} {packing:7.1f} {each - packing:8.1f} "
            f"{1000 * cpu / len(done):8.1f}"
        )


def workers(count: int) -> None:
    """Wall time of the same records in one process and in two; starting them is counted."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        records = list(cases(root, "jobs", (512, 512, 1), 27, count))
        seconds = {}
        for jobs in (1, 2):
            start = time.perf_counter()
            config = CorruptConfig(jobs=jobs, images=f"jobs-{jobs}")
            first = None
            for number, _ in enumerate(run(iter(records), config, Context(root))):
                first = first or (time.perf_counter() if number == count // 4 else None)
            end = time.perf_counter()
            seconds[jobs] = (end - start, end - (first or start))
    whole, later = (seconds[1][part] / seconds[2][part] for part in (0, 1))
    print(f"--jobs 2, {count} pictures of 512x512: {whole:.2f} times as fast, {later:.2f} after the first quarter")


def memory() -> None:
    """What corrupting one volume adds to a fresh process, in volumes."""
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (record,) = cases(root, "memory", VOLUME, 16, 1)
        (root / "record.json").write_bytes(encode(record))
        program = (
            "import sys, msgspec; from pathlib import Path\n"
            "from medpo_cli.imaging import nifti, operators, prepared\n"
            "from medpo_cli.io.context import Context; from medpo_cli.schema.config import CorruptConfig\n"
            "from medpo_cli.schema.records import Case; from medpo_cli.stages.corrupt import run\n"
            "def peak(): return next(int(x.split()[1]) for x in open('/proc/self/status') if x.startswith('VmHWM'))\n"
            "root = Path(sys.argv[1]); case = msgspec.json.decode((root / 'record.json').read_bytes(), type=Case)\n"
            "before = peak(); list(run([case], CorruptConfig(), Context(root))); print(peak() - before)"
        )
        done = subprocess.run([sys.executable, "-c", program, folder], capture_output=True, text=True, check=True)
    print(f"memory for a 256x256x256 int16 volume: {int(done.stdout) * 1024 / (2 * 256**3):.1f} times the volume")


def main() -> None:
    """Print everything."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=60)
    count = parser.parse_args().records
    memory()
    workers(4 * count)
    speed(count)


if __name__ == "__main__":
    main()
