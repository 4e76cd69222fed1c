"""How fast ``corrupt`` is: records a second on demo-like pictures, a 512x512 slice and a volume.

Run: ``python benchmarks/corrupt.py [--records 60]``; one thread (set OMP_NUM_THREADS=1). Each record has
its own image; times hold reading, both operators, writing .nii.gz, reading again and the proof.
"""

import argparse
import itertools
import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image as Pillow

from medpo_cli.imaging import nifti
from medpo_cli.imaging.image import Image, frozen
from medpo_cli.io.context import Context
from medpo_cli.schema.config import CorruptConfig
from medpo_cli.schema.records import Case, ImageRef, MaskRef, Region
from medpo_cli.stages.corrupt import run


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


def main() -> None:
    """Print one row for each size and operator."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=60)
    count = parser.parse_args().records
    sizes = (
        ("96x96", (96, 96, 1), 8, count),
        ("512x512", (512, 512, 1), 27, count // 6),
        ("256x256x256", (256, 256, 256), 16, 2),
    )
    print(f"{'image':>12} {'operator':>17} {'control':>8} {'ms/record':>10} {'records/s':>10} {'CPU ms':>8}")
    for (name, shape, radius, number), operator, control in itertools.product(
        sizes, ("harmonic-texture", "harmonic", "gaussian"), (True, False)
    ):
        with tempfile.TemporaryDirectory() as folder:
            root = Path(folder)
            records = list(cases(root, name, shape, radius, max(1, number)))
            wall, cpu = time.perf_counter(), time.process_time()
            done = list(run(records, CorruptConfig(operator=operator, control=control), Context(root)))
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            assert all(record.corrupted is not None for record in done)
        each = 1000 * wall / len(done)
        print(
            f"{name:>12} {operator:>17} {control!s:>8} {each:10.1f} {1000 / each:10.1f} {1000 * cpu / len(done):8.1f}"
        )
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB")


if __name__ == "__main__":
    main()
