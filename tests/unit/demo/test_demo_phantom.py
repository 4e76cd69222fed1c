"""Phantoms: the same everywhere, exact masks, exact twins."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from medpo_cli.demo.findings import FINDINGS, SIDES, Lesion
from medpo_cli.demo.phantom import draw_lesions, phantom, render
from medpo_cli.demo.streams import Stream

KEY = ("test", 0, 0)
ONE_EACH = {
    "cardiomegaly": Lesion("cardiomegaly"),
    "nodule": Lesion("nodule", "left", "upper", "small"),
    "opacity": Lesion("opacity", "right", "middle"),
    "pleural_effusion": Lesion("pleural_effusion", "left", None, "small"),
    "pneumothorax": Lesion("pneumothorax", "right", None, "large"),
}


def digest(split: str, count: int) -> str:
    pictures = [phantom(split, 3, index).picture.tobytes() for index in range(count)]
    return hashlib.sha256(b"".join(pictures)).hexdigest()


def test_same_bytes_again_and_in_another_process():
    program = (
        "import hashlib; from medpo_cli.demo.phantom import phantom;"
        "print(hashlib.sha256(b''.join(phantom('train', 3, i).picture.tobytes() for i in range(6))).hexdigest())"
    )
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert digest("train", 6) == digest("train", 6) == other.stdout.strip()


def test_splits_seeds_and_indices_are_different_pictures():
    keys = [("train", 0, 0), ("test", 0, 0), ("tower", 0, 0), ("teaching", 0, 0), ("train", 1, 0), ("train", 0, 1)]
    assert len({phantom(*key).picture.tobytes() for key in keys}) == len(keys)


def test_an_image_does_not_depend_on_those_before_it():
    pictures = [phantom("test", 0, index).picture for index in range(4)]
    assert np.array_equal(pictures[3], phantom("test", 0, 3).picture)


def test_picture_is_8_bit_and_uses_the_range():
    picture = render(KEY, ONE_EACH).picture
    assert picture.dtype == np.uint8
    assert picture.shape == (96, 96)
    assert picture.min() < 30
    assert 150 < picture.max()


@pytest.mark.parametrize("index", range(12))
def test_twins_differ_exactly_in_the_mask(index):
    image = phantom("test", 0, index)
    for finding in image.lesions:
        mask, twin = image.mask(finding), image.twin(finding)
        changed = twin != image.picture
        limits = ((twin == 255) & (image.picture == 255)) | ((twin == 0) & (image.picture == 0))
        assert mask.any()
        assert np.array_equal(changed, mask & ~limits)


def test_regions_hold_the_masks_and_only_the_hearts_is_larger():
    image = render(KEY, ONE_EACH)
    for finding in ONE_EACH:
        mask, region = image.mask(finding), image.region(finding)
        assert not (mask & ~region).any()
        assert (region.sum() > mask.sum()) == (finding == "cardiomegaly")


def test_leaving_one_out_moves_nothing_else():
    image = render(KEY, ONE_EACH)
    for finding in ONE_EACH:
        rest = {name: lesion for name, lesion in ONE_EACH.items() if name != finding}
        elsewhere = ~image.mask(finding)
        # The twin keeps differences below one grey level outside the mask; drawing anew may round one off.
        difference = render(KEY, rest).picture.astype(int) - image.twin(finding).astype(int)
        assert np.abs(difference[elsewhere]).max() <= 1
        assert not difference[~elsewhere].any()


@pytest.mark.parametrize("finding", FINDINGS[1:])
@pytest.mark.parametrize("side", SIDES)
def test_the_patients_right_is_the_images_left(finding, side):
    for index in range(5):
        lesion = Lesion(finding, side, "middle", "large")
        columns = np.nonzero(render((*KEY, index), {finding: lesion}).mask(finding))[1]
        assert (columns.mean() < 48) == (side == "right")


def test_zones_lie_one_below_the_other():
    rows = []
    for zone in ("upper", "middle", "lower"):
        lesion = Lesion("nodule", "right", zone, "small")
        rows.append(np.nonzero(render(KEY, {"nodule": lesion}).mask("nodule"))[0].mean())
    assert rows[0] + 10 < rows[1]
    assert rows[1] + 10 < rows[2]


@pytest.mark.parametrize("finding", ["nodule", "pleural_effusion", "pneumothorax"])
def test_large_is_larger_than_small(finding):
    areas = {
        size: [
            int(render((*KEY, i), {finding: Lesion(finding, "left", "upper", size)}).mask(finding).sum())
            for i in range(8)
        ]
        for size in ("small", "large")
    }
    assert max(areas["small"]) < min(areas["large"])


def test_prevalence_is_unbiased_unless_asked():
    # 2000 draws: standard error of a share of .42 is sqrt(.42*.58/2000) = .011; five of them are .055
    drawn = [draw_lesions(("count", index)) for index in range(2000)]
    for finding in FINDINGS:
        assert abs(sum(finding in found for found in drawn) / 2000 - 0.42) < 0.055
    big = [found for found in drawn if "cardiomegaly" in found]
    assert abs(sum("pleural_effusion" in found for found in big) / len(big) - 0.42) < 0.09


def test_confounding_ties_effusions_to_big_hearts():
    drawn = [draw_lesions(("count", index), confounded=True) for index in range(2000)]
    for heart, expected in ((True, 0.8), (False, 0.2)):
        group = [found for found in drawn if ("cardiomegaly" in found) == heart]
        assert abs(sum("pleural_effusion" in found for found in group) / len(group) - expected) < 0.07


def test_streams_are_independent_and_near_normal():
    assert Stream("a", 1).uniform() == Stream("a", 1).uniform()
    assert Stream("a", 1).uniform() != Stream("a", 11).uniform()
    assert Stream("a", "b").uniform() != Stream("ab").uniform()
    values = Stream("n").normals(96, 96)
    # standard error of the mean of 9216 normals: .0104
    assert abs(float(values.mean())) < 0.05
    assert abs(float(values.std()) - 1) < 0.05
