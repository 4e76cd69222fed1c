"""Pictures, masks and twins of the CT demo are exact, and no split sees another's material."""

import numpy as np
import pytest

from medpo_cli.demo.ct import lesions, scenes, slices
from medpo_cli.demo.ct.lesions import SIZE_MM, contours_for, coverage, insert, make_stamp
from medpo_cli.demo.ct.scenes import PIXELS, SIDES, draw_scene
from medpo_cli.demo.ct.slices import SPACING, SPLITS, slices_for


def both_sides(present: bool = True) -> dict[str, bool]:
    return dict.fromkeys(SIDES, present)


@pytest.mark.parametrize("split", SPLITS)
def test_same_arguments_same_picture_even_with_cold_caches(split):
    first = [draw_scene(split, 3, index) for index in (5, 0)]
    for cached in (slices.all_slices, slices.slices_for, lesions.all_contours, lesions.contours_for):
        cached.cache_clear()
    again = [draw_scene(split, 3, index) for index in (5, 0)]
    for one, other in zip(first, again, strict=True):
        assert one.grey.tobytes() == other.grey.tobytes()
        assert one.nodules.keys() == other.nodules.keys()
    assert draw_scene(split, 4, 0).grey.tobytes() != again[1].grey.tobytes()


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("index", range(6))
def test_a_mask_is_exactly_where_the_twin_differs(split, index):
    scene = draw_scene(split, 0, index, present=both_sides())
    assert scene.grey.shape == (PIXELS, PIXELS)
    assert scene.grey.dtype == np.uint8
    for side, nodule in scene.nodules.items():
        differs = scene.grey != scene.twins[side]
        assert np.array_equal(differs, nodule.mask)
        assert nodule.mask.any()
    union = scene.nodules["left"].mask | scene.nodules["right"].mask
    assert np.array_equal(scene.grey != scene.twins["none"], union)


@pytest.mark.parametrize("index", range(4))
def test_leaving_a_nodule_out_changes_nothing_else(index):
    both = draw_scene("test", 1, index, present=both_sides())
    left = draw_scene("test", 1, index, present={"left": True, "right": False})
    none = draw_scene("test", 1, index, present=both_sides(False))
    assert np.array_equal(both.twins["right"], left.grey)
    assert np.array_equal(both.twins["none"], none.grey)
    assert none.nodules == {}


@pytest.mark.parametrize("index", range(8))
def test_side_is_the_patients_and_part_is_the_pictures(index):
    scene = draw_scene("validation", 2, index, present=both_sides())
    middle = PIXELS / 2
    for nodule in scene.nodules.values():
        row, column = np.argwhere(nodule.mask).mean(axis=0)
        assert (column > middle) == (nodule.side == "left")
        assert (row > middle) == (nodule.part == "lower")


def test_sizes_keep_their_range_and_masks_their_size():
    for index in range(10):
        for nodule in draw_scene("train", 0, index, present=both_sides()).nodules.values():
            low, high = SIZE_MM[nodule.size]
            assert low <= nodule.diameter <= high
            across = 2 * np.sqrt(nodule.mask.sum() * SPACING**2 / np.pi)
            # The scanner's blur widens the mask by about two pixels on each side, more where the outline
            # is ragged; vessels may take some away.
            assert 0.7 * nodule.diameter < across < nodule.diameter + 8


def test_presence_is_a_fair_coin_a_side():
    scenes_drawn = [draw_scene("test", 7, index) for index in range(120)]
    for side in SIDES:
        present = sum(side in scene.nodules for scene in scenes_drawn)
        assert 41 <= present <= 79  # 120 tosses: 60 +- 3.5 standard deviations (5.5)


def test_a_disc_covers_its_area():
    angle = np.linspace(0, 2 * np.pi, 200, endpoint=False)
    disc = 5 * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    cover = coverage(disc, spacing=1.0, half=8)
    assert cover.sum() == pytest.approx(np.pi * 25, rel=0.04)  # radius 5 pixels: 78.5
    assert cover[8, 8] == 1
    assert cover[0, 0] == 0
    assert coverage(disc, spacing=2.0, half=8).sum() == pytest.approx(np.pi * 6.25, rel=0.08)


def test_insert_never_darkens_and_stays_inside_the_stamp():
    contour = contours_for("train", "large")[0]
    stamp = make_stamp(contour, SPACING, "key")
    background = np.full((PIXELS, PIXELS), -850.0)
    background[40:60, 40:60] = 300.0  # denser than any nodule
    result = insert(background, stamp, 48, 48)
    half = stamp.cover.shape[0] // 2
    outside = np.ones_like(background, bool)
    outside[48 - half : 49 + half, 48 - half : 49 + half] = False
    assert np.array_equal(result[outside], background[outside])
    assert (result >= background).all()
    assert np.array_equal(result[40:60, 40:60], background[40:60, 40:60])


def test_no_slice_is_in_two_splits_and_the_test_patient_is_in_none_else():
    places = {split: {(s.patient, s.z) for s in slices_for(split)} for split in SPLITS}
    assert not places["train"] & places["validation"]
    assert {patient for patient, _ in places["test"]} == {slices.TEST_PATIENT}
    for split in ("train", "validation"):
        assert slices.TEST_PATIENT not in {patient for patient, _ in places[split]}


def test_no_training_slice_touches_a_validation_slice():
    for patient in ("lung1", "chest"):
        order = {s.z: number for number, s in enumerate(slices.all_slices()[patient])}
        train, validation = (
            [order[s.z] for s in slices_for(split) if s.patient == patient] for split in ("train", "validation")
        )
        assert validation
        assert min(abs(t - v) for t in train for v in validation) >= 2


def test_no_picture_of_one_split_is_in_another():
    pictures = {split: {s.grey.tobytes() for s in slices_for(split)} for split in SPLITS}
    assert not pictures["train"] & pictures["validation"]
    assert not pictures["test"] & (pictures["train"] | pictures["validation"])


@pytest.mark.parametrize("size", list(SIZE_MM))
def test_readers_scans_are_held_out(size):
    scans = [{contour.scan for contour in contours_for(split, size)} for split in SPLITS]
    assert all(scans)
    assert not scans[0] & scans[1]
    assert not scans[0] & scans[2]
    assert not scans[1] & scans[2]


def test_nodules_lie_on_lung():
    for patient, stack in slices.all_slices().items():
        for one in stack:
            assert one.grey.shape == one.lung.shape, patient
            share = one.grey[one.lung].mean()
            assert share < 70, patient  # -616 HU; soft tissue is near 190


@pytest.mark.parametrize(
    "call", [slices_for, lambda split: contours_for(split, "small"), lambda s: draw_scene(s, 0, 0)]
)
def test_an_unknown_split_is_refused(call):
    with pytest.raises(ValueError, match="split must be one of"):
        call("holdout")


def test_no_fitting_crop_is_an_error_not_an_endless_search(monkeypatch):
    monkeypatch.setattr(scenes, "MINIMUM_CONTRAST", 1e9)
    monkeypatch.setattr(scenes, "TRIES", 3)
    with pytest.raises(RuntimeError, match="no crop"):
        draw_scene("test", 0, 0)
