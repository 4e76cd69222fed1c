"""The CT cases on disk: same bytes every time, and every word follows from a mask."""

import hashlib

import nibabel
import numpy as np
import pytest
from PIL import Image

from medpo_cli.demo.cases import write_cases
from medpo_cli.demo.ct import language
from medpo_cli.demo.ct.cases import draw
from medpo_cli.demo.ct.scenes import SIDES, draw_scene
from medpo_cli.io.stream import read_all
from medpo_cli.schema.records import Case


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("ct")
    path = write_cases(folder, domain="ct", split="test", images=12, seed=0)
    with path.open("rb") as stream:
        return folder, list(read_all(stream, path.name, (Case,)))


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_two_runs_write_the_same_bytes(written, tmp_path):
    write_cases(tmp_path, domain="ct", split="test", images=12, seed=0)
    assert files(tmp_path) == files(written[0])


def test_the_first_pictures_do_not_depend_on_how_many_there_are(written, tmp_path):
    write_cases(tmp_path, domain="ct", split="test", images=3, seed=0)
    name = "images/ct-test-000002.png"
    assert (tmp_path / name).read_bytes() == (written[0] / name).read_bytes()


def test_hashes_and_grids(written):
    folder, cases = written
    assert len({case.id for case in cases}) == len(cases)
    for case in cases:
        data = (folder / case.image.path).read_bytes()
        assert hashlib.sha256(data).hexdigest() == case.image.sha256
        for region in case.regions or []:
            assert region.label == "nodule"
            assert hashlib.sha256((folder / region.mask.path).read_bytes()).hexdigest() == region.mask.sha256


def grey(path):
    return np.asarray(Image.open(path))


def test_a_twin_file_differs_exactly_inside_the_mask_file(written):
    folder, cases = written
    checked = 0
    for case in cases:
        for region in case.regions or []:
            mask = np.asarray(nibabel.load(folder / region.mask.path).dataobj)[:, :, 0].T > 0
            twin = grey(folder / case.ext["twins"]["nodule"])
            assert np.array_equal(grey(folder / case.image.path) != twin, mask)
            checked += 1
    assert checked > 10


def test_a_question_about_one_of_two_nodules_shows_only_that_one(written):
    folder, cases = written
    for case in cases:
        if "-closed-" not in case.id or not case.regions:
            continue
        side = case.id.rsplit("-", 1)[1]
        (region,) = case.regions
        mask = np.asarray(nibabel.load(folder / region.mask.path).dataobj)[:, :, 0] > 0
        assert (np.argwhere(mask)[:, 0].mean() > 48) == (side == "left")


def test_words_follow_the_facts(written):
    _, cases = written
    for case in cases:
        facts = case.ext["nodules"]
        if case.task == "report":
            for side in SIDES:
                expected = (
                    f"On the {side} there is a {facts[side]['size']} nodule in the {facts[side]['part']} part."
                    if side in facts
                    else f"On the {side} no nodule is seen."
                )
                assert expected in case.reference
        if case.task == "vqa-closed":
            side = case.id.rsplit("-", 1)[1]
            assert case.reference.startswith("Yes") == (side in facts)
            assert bool(case.regions) == (side in facts)


def test_crops_of_one_slice_share_a_group(written):
    _, cases = written
    assert all(case.group.startswith("lung2-") for case in cases)


def test_training_cases_have_no_twins(tmp_path):
    path = write_cases(tmp_path, domain="ct", split="train", images=2, seed=0)
    assert not (tmp_path / "twins").exists()
    with path.open("rb") as stream:
        assert all("twins" not in case.ext for case in read_all(stream, path.name, (Case,)))


def test_the_open_question_fits_the_number_of_nodules():
    for present, prompt in (
        ({"left": True, "right": False}, language.SIDE_QUESTION),
        ({"left": True, "right": True}, None),
        ({"left": False, "right": False}, ""),
    ):
        drawing = draw(draw_scene("test", 0, 0, present=present), "x", with_twins=True)
        asked = [question.prompt for question in drawing.questions if question.name == "open"]
        if prompt == "":
            assert asked == []
        elif prompt is None:
            assert asked[0].startswith("How large is the nodule on the ")
        else:
            assert asked == [prompt]
