"""What write_cases writes: deterministic files and records that name them rightly."""

import gzip
import hashlib
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
from PIL import Image

from medpo_cli.demo.cases import mask_nifti, write_cases
from medpo_cli.demo.phantom import phantom
from medpo_cli.io.stream import decode
from medpo_cli.schema.records import Case, End


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("cases")
    write_cases(folder, split="test", images=8, seed=0)
    return folder


def records(folder: Path, split: str = "test") -> list[Case | End]:
    return [decode(line) for line in (folder / f"{split}.jsonl").read_bytes().splitlines()]


def test_same_arguments_same_bytes(folder, tmp_path):
    write_cases(tmp_path, split="test", images=8, seed=0)
    assert contents(tmp_path) == contents(folder)


def test_another_seed_is_another_run(folder, tmp_path):
    write_cases(tmp_path, split="test", images=8, seed=1)
    assert records(tmp_path)[-1].run != records(folder)[-1].run


def test_ends_with_an_end_record(folder):
    *cases, end = records(folder)
    # 8 images of one report, two closed and one open question
    assert len(cases) == 8 * 4
    assert (end.stage, end.records, end.rejected) == ("demo", 32, 0)
    assert all(isinstance(case, Case) for case in cases)
    assert len({case.id for case in cases}) == 32


def test_hashes_are_those_of_the_files(folder):
    for case in records(folder)[:-1]:
        refs = [case.image, *(region.mask for region in case.regions or [])]
        for ref in refs:
            assert hashlib.sha256((folder / ref.path).read_bytes()).hexdigest() == ref.sha256


def test_report_cases_show_all_lesions_and_their_twins(folder):
    report = next(case for case in records(folder) if case.id.endswith("-report") and case.regions)
    index = int(report.group.split("-")[-1])
    image = phantom("test", 0, index)
    assert {region.label for region in report.regions} == set(image.lesions) == set(report.ext["twins"])
    assert np.array_equal(np.asarray(Image.open(folder / report.image.path)), image.picture)
    for region in report.regions:
        voxels = np.asarray(nibabel.load(folder / region.mask.path).dataobj)
        assert voxels.dtype == np.uint8
        assert np.array_equal(voxels[:, :, 0].T, image.region(region.label))
        twin = np.asarray(Image.open(folder / report.ext["twins"][region.label]))
        assert np.array_equal(twin, image.twin(region.label))


def test_questions_show_only_what_they_ask_about(folder):
    for case in records(folder)[:-1]:
        if case.task == "vqa-closed":
            asked = case.id.split("-closed-")[1]
            assert [region.label for region in case.regions or []] == ([asked] if case.reference[0] == "Y" else [])


def test_train_has_terse_references_and_no_twins(tmp_path):
    path = write_cases(tmp_path, split="train", images=3)
    assert path == tmp_path / "train.jsonl"
    assert not (tmp_path / "twins").exists()
    for line in path.read_text().splitlines()[:-1]:
        case = json.loads(line)
        assert "twins" not in case.get("ext", {})
        assert ("terse" in case.get("ext", {})) == (case["task"] == "report")


def test_mask_axes_are_column_then_row():
    mask = np.zeros((2, 3), bool)
    mask[1, 2] = True
    image = nibabel.Nifti1Image.from_bytes(gzip.decompress(mask_nifti(mask)))
    voxels = np.asarray(image.dataobj)
    assert voxels.shape == (3, 2, 1)
    assert voxels[2, 1, 0] == 1
    assert voxels.sum() == 1


@pytest.mark.parametrize("arguments", [{"domain": "mri"}, {"split": "dev"}, {"images": -1}, {"images": 1, "seed": -1}])
def test_bad_arguments_write_nothing(tmp_path, arguments):
    with pytest.raises(ValueError, match=r"no such|negative"):
        write_cases(tmp_path, **{"images": 1, **arguments})
    assert not list(tmp_path.rglob("*.jsonl"))


def test_no_images_is_an_empty_stream(tmp_path):
    write_cases(tmp_path, images=0)
    assert [type(record) for record in records(tmp_path, "train")] == [End]
