"""Control sites: the same shape, legal, alike in its surroundings, the mirror first."""

import numpy as np
import pytest
from data.imaging_files import RIGHT_ANTERIOR, body_picture, disc

from medpo_cli.imaging.control import find_control, mirror
from medpo_cli.imaging.ground import Ground
from medpo_cli.imaging.image import Image, frozen


def image_of(picture: np.ndarray, **fields: object) -> Image:
    return Image(array=frozen(picture.T[:, :, None].copy()), kind="png", **fields)  # type: ignore[arg-type]


def stream(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def shape_of(mask: np.ndarray) -> list[list[int]]:
    """Voxels relative to the bounding box."""
    places = np.argwhere(mask)
    return (places - places.min(axis=0)).tolist()  # type: ignore[no-any-return]


LESION = disc(96, (30, 50), 6)[:, :, None]


def test_body_leaves_out_air_at_the_border_but_not_dark_inside() -> None:
    picture = body_picture()
    picture[45:50, 45:50] = 0
    body = Ground(image_of(picture)).body[:, :, 0].T
    assert not body[0, 0]
    assert body[47, 47]
    assert abs(body.mean() - np.pi * 0.45**2) < 0.01


def test_padding_is_not_body() -> None:
    padding = np.zeros((96, 96, 1), bool)
    padding[40:50] = True
    assert not Ground(image_of(body_picture(), padding=padding)).body[45].any()


@pytest.mark.parametrize("shift", [-5, 0, 4])
def test_plane_of_symmetry_is_where_the_picture_is_its_mirror(shift: int) -> None:
    picture = np.roll(body_picture(), shift, axis=1)
    # The body's middle is 47.5 + shift; two mirrored columns sum to twice that.
    assert Ground(image_of(picture)).symmetry == pytest.approx(95 + 2 * shift, abs=1)


def test_mirror_maps_index_to_sum_minus_index() -> None:
    region = np.zeros((10, 4, 1), bool)
    region[1, 2] = region[2, 2] = True
    mirrored = mirror(region, 0, 9)
    assert mirrored is not None
    assert np.argwhere(mirrored).tolist() == [[7, 2, 0], [8, 2, 0]]
    assert mirror(region, 0, 0) is None
    assert mirror(region, -1, None) is None


def test_the_contralateral_site_comes_first() -> None:
    site = find_control(Ground(image_of(body_picture())), LESION, LESION, stream())
    assert site is not None
    assert site[1] == "mirror"
    assert abs(np.argwhere(site[0]).mean(axis=0)[0] - 65) <= 1  # 95 - 30
    assert site[0].sum() == LESION.sum()


def test_a_mirror_image_in_other_surroundings_is_passed_over() -> None:
    picture = body_picture()
    picture[:, 56:] = np.where(picture[:, 56:] > 20, picture[:, 56:] + 70, picture[:, 56:])
    ground = Ground(image_of(picture))
    site = find_control(ground, LESION, LESION, stream())
    assert site is not None
    assert site[1] == "shift"
    assert np.argwhere(site[0])[:, 0].max() < 56


def test_a_lesion_on_the_other_side_makes_it_move() -> None:
    other = disc(96, (65, 50), 8)[:, :, None]
    ground = Ground(image_of(body_picture()))
    site = find_control(ground, LESION, LESION | other, stream())
    assert site is not None
    assert site[1] == "shift"
    assert shape_of(site[0]) == shape_of(LESION)


@pytest.mark.parametrize("seed", range(10))
def test_a_moved_site_is_legal(seed: int) -> None:
    rng = stream(seed)
    lesion = disc(96, tuple(rng.integers(25, 70, 2)), float(rng.integers(3, 9)))[:, :, None]
    other = np.flip(lesion, 0) | disc(96, tuple(rng.integers(25, 70, 2)), 5)[:, :, None]
    ground = Ground(image_of(body_picture(seed=seed)))
    site = find_control(ground, lesion, lesion | other, rng)
    assert site is not None
    assert shape_of(site[0]) == shape_of(lesion)
    assert not (site[0] & (lesion | other | ~ground.body)).any()


def test_surroundings_decide_among_the_legal_sites() -> None:
    picture = body_picture()
    picture[:48] = np.where(picture[:48] > 20, picture[:48] - 60, picture[:48])  # the upper half is darker
    lesion = disc(96, (47, 30), 4)[:, :, None]  # in the middle: its mirror is itself
    for seed in range(5):
        site = find_control(Ground(image_of(picture)), lesion, lesion, stream(seed))
        assert site is not None
        assert np.argwhere(site[0])[:, 1].max() < 48


def test_the_seed_picks_and_repeats() -> None:
    lesion = disc(96, (47, 30), 4)[:, :, None]
    ground = Ground(image_of(body_picture()))
    sites = [find_control(ground, lesion, lesion, stream(seed)) for seed in (1, 1, 2, 3, 4)]
    masks = [site[0] for site in sites if site is not None]
    np.testing.assert_array_equal(masks[0], masks[1])
    assert any((masks[0] != mask).any() for mask in masks[2:])


def test_no_legal_site_gives_none() -> None:
    large = disc(96, (47.5, 47.5), 35)[:, :, None]
    assert find_control(Ground(image_of(body_picture())), large, large, stream()) is None


def test_a_volume_keeps_the_slices_of_the_lesion() -> None:
    volume = np.repeat(body_picture().T[:, :, None], 6, axis=2)
    image = Image(array=frozen(volume), kind="nifti", affine=RIGHT_ANTERIOR[[2, 0, 1, 3]])  # sagittal: no mirror
    lesion = np.zeros(volume.shape, bool)
    lesion[28:34, 48:56, 2:4] = True
    site = find_control(Ground(image), lesion, lesion, stream())
    assert site is not None
    assert site[1] == "shift"
    assert shape_of(site[0]) == shape_of(lesion)
    assert np.flatnonzero(site[0].any(axis=(0, 1))).tolist() == [2, 3]
    assert not (site[0] & lesion).any()
