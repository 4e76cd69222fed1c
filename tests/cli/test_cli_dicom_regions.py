"""``medpo corrupt`` with regions from DICOM segmentations and structure sets, beside an equal NIfTI mask."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest_cli import END, Run, case
from data.imaging_files import dicom, disc, nifti
from data.mark_files import SECRET, enhanced, point, position, segmentation, structure_set

from medpo_cli.imaging.read import read_image

SIZE, SLICES = 48, 3
FINDING = disc(SIZE, (30, 20), 6).T
"""[row, column]"""


@pytest.fixture
def study(folder: Path) -> Path:
    """An enhanced CT with one bright disc, the disc as a segment, contours and a NIfTI mask, and a record of each."""
    pixels = np.random.default_rng(0).integers(900, 1000, (SLICES, SIZE, SIZE)).astype(np.uint16)
    pixels[1][FINDING] += 400
    image = read_image(dicom(folder / "ct.dcm", enhanced(pixels)))
    mask = np.zeros(image.shape, np.uint8)
    mask[:, :, 1] = FINDING.T
    nifti(folder / "m.nii.gz", mask, image.affine)
    frames = [(1, position(0), np.ones((SIZE, SIZE))), (2, position(1), FINDING)]
    dicom(folder / "seg.dcm", segmentation(frames, (SECRET, "Lung nodule")))
    steps = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    circle = [point(30 + 6.05 * np.cos(step), 20 + 6.05 * np.sin(step), 1) for step in steps]
    dicom(folder / "rt.dcm", structure_set([(9, SECRET, [circle])]))
    return folder


def record(number: int, mask: dict[str, object]) -> str:
    regions = [{"label": "lung_nodule", "mask": mask}]
    return case(number, image={"path": "ct.dcm", "frame": 1}, regions=regions)


def test_the_same_region_from_any_file_makes_the_same_image(medpo: Run, study: Path) -> None:
    masks: list[dict[str, object]] = [
        {"path": "m.nii.gz"}, {"path": "seg.dcm"}, {"path": "seg.dcm", "value": 2}, {"path": "rt.dcm", "value": 9},
    ]  # fmt: skip
    lines = [record(number, mask) for number, mask in enumerate(masks)]
    (study / "c.jsonl").write_text("".join(f"{line}\n" for line in [*lines, END]))
    done = medpo("corrupt", "c.jsonl", "-o", "v.jsonl")
    assert done.returncode == 0, done.stderr
    made = [json.loads(line) for line in (study / "v.jsonl").read_text().splitlines()][: len(masks)]
    assert len({row["corrupted"]["image"]["path"] for row in made}) == 1
    assert made[0]["corrupted"]["region"]["voxels"] == FINDING.sum()
    done = medpo("check", "--images", "v.jsonl")
    assert done.returncode == 0, done.stderr


def test_a_choice_that_is_none_is_a_reject_that_names_nobody(medpo: Run, study: Path) -> None:
    lines = [record(0, {"path": "seg.dcm", "value": 3}), record(1, {"path": "m.nii.gz"})]
    (study / "c.jsonl").write_text("".join(f"{line}\n" for line in [*lines, END]))
    done = medpo("corrupt", "c.jsonl", "-o", "v.jsonl")
    assert done.returncode == 3
    rejects = (study / "v.jsonl.rejects.jsonl").read_text()
    assert json.loads(rejects.splitlines()[0])["code"] == "mask-label"
    for words in (rejects, done.stderr, (study / "v.jsonl").read_text()):
        assert SECRET not in words
