"""Regions from DICOM segmentations and structure sets, through the stages that use them."""

import json
from pathlib import Path

import numpy as np
import pytest
from conftest_cli import END, Run, case
from data.imaging_files import body_picture, dicom, nifti, series, slices
from data.mark_files import rtstruct, seg

SIDE, COUNT = 48, 5
BOX = (slice(10, 20), slice(14, 24))


@pytest.fixture
def study(folder: Path) -> Path:
    """A series, its third slice alone, and the same lesion as NIfTI mask, segmentation and structure set."""
    made = slices(COUNT, Rows=SIDE, Columns=SIDE, FrameOfReferenceUID="1.2.7", PixelSpacing=[0.7, 0.7])
    for k, dataset in enumerate(made):
        pixels = body_picture(SIDE, k).astype(np.uint16) + 900
        pixels[BOX[1], BOX[0]] += 150
        dataset.PixelData = pixels.tobytes()
    series(folder / "images" / "ct", made)
    dicom(folder / "images" / "slice.dcm", made[2])
    plane = np.zeros((SIDE, SIDE), bool)
    plane[BOX[1], BOX[0]] = True
    places = [[float(x) for x in made[k].ImagePositionPatient] for k in (3, 1, 2)]
    names = {1: "Lung", 4: "Nodule"}
    dicom(folder / "seg.dcm", seg([plane] * 3, places, [4, 4, 4], names=names, spacing=(0.7, 0.7)))
    edges = [(BOX[0].start, BOX[1].start), (BOX[0].stop, BOX[1].start), (BOX[0].stop, BOX[1].stop)]
    edges.append((BOX[0].start, BOX[1].stop))
    contours = [(4, [(x + 0.7 * (i - 0.5), y + 0.7 * (j - 0.5), z) for i, j in edges]) for x, y, z in places]
    dicom(folder / "rt.dcm", rtstruct(contours, names=names))
    mask = np.zeros((SIDE, SIDE, COUNT), np.uint8)
    mask[BOX[0], BOX[1], 1:4] = 1
    affine = np.diag([-0.7, -0.7, 2.5, 1.0])
    affine[:3, 3] = 10.5, 20.25, 30.0
    nifti(folder / "mask.nii.gz", mask, affine)
    nifti(folder / "flat.nii.gz", np.ascontiguousarray(mask[:, :, 2:3]))
    return folder


def corrupted(medpo: Run, folder: Path, image: str, mask: str) -> dict[str, object]:
    """The region's proof of a case about ``image`` with ``mask``, whose files then pass the check."""
    shown = {"path": f"images/{image}"} | ({"frame": 2} if image == "ct" else {})
    region = {"label": "nodule", "mask": {"path": mask}}
    (folder / "one.jsonl").write_text(case(0, image=shown, regions=[region]) + END)
    done = medpo("corrupt", "one.jsonl", "-o", "v.jsonl", "--force")
    assert done.returncode == 0, done.stderr
    checked = medpo("check", "--images", "v.jsonl")
    assert checked.returncode == 0, checked.stderr
    assert "images compared" in checked.stdout
    record = json.loads((folder / "v.jsonl").read_text().splitlines()[0])
    assert record["control"] is not None
    proof = record["corrupted"]
    assert isinstance(proof, dict)
    return proof


@pytest.mark.parametrize(("image", "twin"), [("ct", "mask.nii.gz"), ("slice.dcm", "flat.nii.gz")])
def test_segmentation_and_structure_set_give_the_file_that_their_nifti_twin_gives(
    medpo: Run, study: Path, image: str, twin: str
) -> None:
    proofs = [corrupted(medpo, study, image, mask) for mask in (twin, "seg.dcm", "rt.dcm")]
    assert proofs[0] == proofs[1] == proofs[2]


def test_a_page_outlines_them(medpo: Run, study: Path) -> None:
    region = {"label": "nodule", "mask": {"path": "seg.dcm"}}
    (study / "one.jsonl").write_text(case(0, image={"path": "images/slice.dcm"}, regions=[region]) + END)
    done = medpo("show", "one.jsonl", "-o", "page.html")
    assert done.returncode == 0, done.stderr
    assert "nodule" in (study / "page.html").read_text()


def test_what_is_not_named_is_rejected_by_field(medpo: Run, study: Path) -> None:
    lines = [
        case(0, image={"path": "images/slice.dcm"}, regions=[{"label": "SECRET", "mask": {"path": "seg.dcm"}}]),
        case(
            1, image={"path": "images/slice.dcm"}, regions=[{"label": "SECRET", "mask": {"path": "images/slice.dcm"}}]
        ),
        case(2, image={"path": "images/slice.dcm"}, regions=[{"label": "x", "mask": {"path": "rt.dcm", "value": 9}}]),
    ]
    (study / "bad.jsonl").write_text("".join(lines) + END)
    done = medpo("corrupt", "bad.jsonl", "-o", "v.jsonl")
    assert done.returncode == 3
    rows = [json.loads(line) for line in (study / "v.jsonl.rejects.jsonl").read_text().splitlines()[:-1]]
    assert [row["code"] for row in rows] == ["mask-label", "unsupported-format", "mask-label"]
    assert rows[2]["path"] == "$.regions[0].mask.value"
    assert "SECRET" not in done.stderr
    assert "Nodule" not in done.stderr
