"""Where image tokens lie on the picture, against the features themselves: change a part, see which tokens change."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import torch
from data.tiny_families import BUILDERS
from data.tiny_guarded import mllama

from medpo_cli.errors import RecordError
from medpo_cli.models import tiny
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.family import grids
from medpo_cli.models.places import pixel_budget, places

ALL: dict[str, Any] = BUILDERS | {"llava": tiny.build_llava, "qwen2_5_vl": tiny.build_qwen2_5_vl}
SHAPES = [(64, 64), (40, 96), (97, 50)]


@pytest.fixture(params=sorted(ALL))
def member(request: pytest.FixtureRequest) -> VisionLanguageModel:
    return VisionLanguageModel(*ALL[request.param](), name=request.param)


@pytest.fixture
def unmixed(member: VisionLanguageModel) -> Iterator[VisionLanguageModel]:
    """A tower whose patches do not look at each other: a feature then tells of its own part of the picture alone."""

    def silent(_module: Any, _inputs: Any, output: Any) -> Any:
        return (torch.zeros_like(output[0]), *output[1:]) if isinstance(output, tuple) else torch.zeros_like(output)

    body = member.base.model
    tower = next(getattr(body, name) for name in ("vision_tower", "visual", "vision_model") if hasattr(body, name))
    found = [module for module in tower.modules() if type(module).__name__.endswith("Attention")]
    assert found
    handles = [module.register_forward_hook(silent) for module in found]
    yield member
    for handle in handles:
        handle.remove()


def changed_tokens(vlm: VisionLanguageModel, one: list[np.ndarray], other: list[np.ndarray]) -> np.ndarray:
    prompts = [vlm.encode_prompt("?", views) for views in (one, other)]
    a, b = (torch.cat(found.tokens) for found in vlm.image_features(prompts))
    return ((a - b).abs().amax(1) > 1e-5).numpy()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("several", [False, True])
def test_the_tokens_of_an_area_are_those_that_change_with_it(
    unmixed: VisionLanguageModel, shape: tuple[int, int], several: bool
) -> None:
    height, width = shape
    view = np.random.default_rng(0).integers(0, 200, (height, width, 3), dtype=np.uint8)
    top, left = int(0.3 * height), int(0.55 * width)
    rows, columns = slice(top, top + height // 4), slice(left, left + width // 5)
    area, around = np.zeros(shape, bool), np.zeros(shape, bool)
    area[rows, columns] = True
    reach = max(3, width // 12, height // 12)  # resizing spreads what changed
    around[max(0, top - reach) : rows.stop + reach, max(0, left - reach) : columns.stop + reach] = True
    other = view.copy()
    other[area] = 255 - other[area]
    rest = [np.full((48, 64, 3), 90, np.uint8)] if several else []
    found = places(unmixed, "?", [view, *rest], [area, around])
    changed = changed_tokens(unmixed, [view, *rest], [other, *rest])
    assert not changed[~found.known].any()
    changed = changed[found.known]
    assert changed.any()
    assert changed[found.shares[0] > 0.1].all()
    assert not changed[found.shares[1] == 0].any()


@pytest.mark.parametrize("shape", SHAPES)
def test_shares_add_up_to_the_whole(member: VisionLanguageModel, shape: tuple[int, int]) -> None:
    half = np.zeros(shape, bool)
    half[:, : shape[1] // 2] = True
    shares = places(member, "?", [np.zeros((*shape, 3), np.uint8)], [half, ~half, half | ~half]).shares
    np.testing.assert_allclose(shares[2], 1.0)
    # A pixel of the processor's picture that is half inside may count for both: one column of 8 in a token.
    np.testing.assert_allclose(shares[0] + shares[1], 1.0, atol=0.126)
    assert (np.abs(shares[0] + shares[1] - 1) < 1e-9).mean() > 0.7


def test_a_grid_is_one_only_where_the_whole_picture_is_on_it() -> None:
    llava = VisionLanguageModel(*tiny.build_llava())
    square, wide = np.zeros((64, 64, 3), np.uint8), np.zeros((40, 96, 3), np.uint8)
    assert places(llava, "?", [square], []).grid == (4, 4)
    assert places(llava, "?", [wide], []).grid is None  # its sides are cut off
    assert places(llava, "?", [square, square], []).grid is None
    qwen = VisionLanguageModel(*tiny.build_qwen2_5_vl())
    assert places(qwen, "?", [wide], []).grid == (5, 12)
    assert places(qwen, "?", [wide], []).known.all()


def test_tokens_that_no_grid_has_and_unknown_families_are_refused() -> None:
    assert grids.grid_of(7, 32, 32) is None
    assert grids.grid_of(17, 32, 32) == (4, 4)
    assert grids.grid_of(8, 16, 32) == (2, 4)
    for call in (
        lambda: grids.cells(torch.zeros(1, 1, 32, 32), 7, 8),
        lambda: grids.merged(torch.zeros(1, 6, 4), 4),
        lambda: places(VisionLanguageModel(*mllama()), "?", [np.zeros((32, 32, 3), np.uint8)], []),
    ):
        with pytest.raises(RecordError) as caught:
            call()
        assert caught.value.reason == "attention-unplaced"


def test_a_budget_of_pixels_holds_while_it_lasts_and_only_where_there_is_one() -> None:
    view = np.zeros((128, 128, 3), np.uint8)
    qwen, llava = VisionLanguageModel(*tiny.build_qwen2_5_vl()), VisionLanguageModel(*tiny.build_llava())
    before = [vlm.encode_prompt("?", [view]).image_key for vlm in (qwen, llava)]
    with pixel_budget(qwen, 64, 1024), pixel_budget(llava, 64, 1024):
        small = qwen.encode_prompt("?", [view])
        assert int(small.vision["image_grid_thw"].prod()) * 4 * 4 <= 1024
        assert llava.encode_prompt("?", [view]).image_key == before[1]
    assert [vlm.encode_prompt("?", [view]).image_key for vlm in (qwen, llava)] == before
