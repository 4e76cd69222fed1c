"""Windows, image blocks and models that share no rows, against the naive form."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from data import tiny_guarded, tiny_windows
from data.training_pairs import BUILDERS, PAIRS, encode, engine, tiny
from test_training_exactness import TERMS, fast, naive, worst
from torch import Tensor
from torch.overrides import TorchFunctionMode
from transformers import Florence2Config, IdeficsConfig

from medpo_cli.errors import UnavailableError
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.family import check_kind, masks
from medpo_cli.models.family.base import WINDOWED
from medpo_cli.models.family.qwen_vl import QwenVL
from medpo_cli.schema.config import AlignConfig
from medpo_cli.training.features import FeatureCache
from medpo_cli.training.verify import choose_forest

EXTRA: dict[str, Callable[[], tuple[Any, Any]]] = {
    **tiny_windows.BUILDERS,
    "phi3": tiny_windows.phi3,
    "qwen3_5": tiny_guarded.qwen3_5,
    "mllama": tiny_guarded.mllama,
}


class Double(TorchFunctionMode):
    """Code that asks for float32, as some models do inside, gets float64: for exactness tests."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        def double(value: Any) -> Any:
            return torch.float64 if value is torch.float32 else value

        func = torch.Tensor.double if func is torch.Tensor.float else func
        return func(*map(double, args), **{name: double(value) for name, value in (kwargs or {}).items()})


@pytest.fixture
def build(monkeypatch: pytest.MonkeyPatch) -> Callable[..., VisionLanguageModel]:
    """``tiny`` for the models of this file too."""
    for name, builder in EXTRA.items():
        monkeypatch.setitem(BUILDERS, name, builder)
    return tiny


def agrees(vlm: VisionLanguageModel, bound: float, *, forest: bool) -> None:
    expected_loss, expected = naive(vlm)
    loss, found = fast(vlm, forest=forest)
    assert abs(loss - expected_loss) <= bound * max(1.0, abs(expected_loss))
    assert worst(found, expected) <= bound


def test_every_window_called_proven_is_tried() -> None:
    assert {*tiny_windows.BUILDERS, "gemma3_text"} == WINDOWED


@pytest.mark.parametrize("kind", sorted(tiny_windows.BUILDERS))
def test_windows_on_the_forest_equal_the_naive_form(kind: str, build: Callable[..., VisionLanguageModel]) -> None:
    vlm = build(kind, torch.float64)
    assert vlm.base.config.get_text_config().model_type == kind
    assert vlm.forest
    agrees(vlm, 1e-10, forest=True)
    agrees(vlm, 1e-10, forest=False)


@pytest.mark.parametrize("kind", [*sorted(tiny_windows.BUILDERS), "gemma3"])
def test_a_window_over_nodes_of_the_row_would_be_noticed(
    kind: str, build: Callable[..., VisionLanguageModel], monkeypatch: pytest.MonkeyPatch
) -> None:
    vlm = build(kind, torch.float64)
    _, expected = naive(vlm)

    def near(seen: Tensor, window: int) -> Tensor:
        index = torch.arange(seen.shape[-1])
        return (index[:, None] - index[None, :] < window).expand_as(seen)

    monkeypatch.setattr(masks, "near", near)
    _, found = fast(vlm, forest=True)
    assert worst(found, expected) > 1e-2


def test_image_blocks_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    vlm = tiny("gemma3", torch.float64)
    _, expected = naive(vlm)
    monkeypatch.setattr(masks, "image_blocks", lambda is_image, end: torch.zeros_like(masks.tree(end)))
    _, found = fast(vlm, forest=True)
    assert worst(found, expected) > 1e-2


def test_the_window_cuts_image_blocks_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """An image of 4 tokens under a window of 3: its last token does not see its first."""
    vlm = tiny("gemma3", torch.float64)
    _, expected = naive(vlm)
    right = vlm.family.tree_mask

    def joined_last(end: Tensor, input_ids: Tensor) -> dict[str, Tensor]:
        found = right(end, input_ids)
        assert isinstance(found, dict)
        blocks = masks.image_blocks(input_ids == vlm.image_token_id, end)
        return found | {"sliding_attention": found["sliding_attention"] | blocks}

    monkeypatch.setattr(vlm.family, "tree_mask", joined_last)
    _, found = fast(vlm, forest=True)
    assert worst(found, expected) > 1e-2


def test_padded_rows_of_gemma_stay_finite() -> None:
    vlm = tiny("gemma3")
    encoder, examples = encode(vlm, TERMS, PAIRS)
    run = engine(vlm, TERMS, encoder, forest=True)
    layout = max(run.layouts([unit for one in examples for unit in one.units]), key=lambda item: len(item.input_ids))
    assert layout.input_ids.numel() > layout.tokens  # some rows are padded
    assert isinstance(layout.attention_mask, dict)
    assert all(mask.any(-1).all() for mask in layout.attention_mask.values())
    with torch.no_grad():
        logits = vlm.forward(
            layout.input_ids,
            features=run.features.get(layout.prompts),
            attention_mask=layout.attention_mask,
            position_ids=layout.position_ids[:1],
        )
    assert logits.isfinite().all()


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("kind", ["qwen3_5", "mllama", "phi3"])
def test_guarded_models_on_plain_rows_equal_the_naive_form(
    kind: str, dtype: torch.dtype, bound: float, build: Callable[..., VisionLanguageModel]
) -> None:
    vlm = build(kind, dtype)
    assert not vlm.forest
    if dtype == torch.float32:
        agrees(vlm, bound, forest=False)
        return
    with Double():
        agrees(vlm, bound, forest=False)


def test_eager_attention_on_plain_rows_equals_the_naive_form() -> None:
    vlm = tiny("llava", torch.float64)
    vlm.base.set_attn_implementation("eager")
    again = VisionLanguageModel(vlm.model, vlm.processor)
    assert not again.forest
    with Double():
        agrees(again, 1e-10, forest=False)


def test_linear_attention_under_a_tree_mask_would_be_wrong(build: Callable[..., VisionLanguageModel]) -> None:
    """Why the guard is there: nothing fails, the gradients are simply others."""
    vlm = build("qwen3_5")
    _, expected = naive(vlm)
    vlm.family = QwenVL(vlm.base, vlm.image_token_id)
    assert not vlm.forest
    _, found = fast(vlm, forest=True)
    assert worst(found, expected) > 1e-2


@pytest.mark.parametrize("kind", ["qwen3_5", "mllama", "phi3"])
def test_the_forest_cannot_be_forced_on_guarded_models(kind: str, build: Callable[..., VisionLanguageModel]) -> None:
    vlm = build(kind)
    encoder, examples = encode(vlm, TERMS, PAIRS[:1])
    cache = FeatureCache(vlm, encoder.encode_prompt)

    class Notes:
        lines: list[str] = []  # noqa: RUF012

        def note(self, line: str) -> None:
            self.lines.append(line)

    notes: Any = Notes()
    with pytest.raises(UnavailableError, match="no shared prefixes for this model family: use --engine rows"):
        choose_forest(vlm, examples, cache, AlignConfig(engine="forest"), notes)
    assert not choose_forest(vlm, examples, cache, AlignConfig(), notes)
    assert "plain rows are used" in notes.lines[0]


def test_paligemma_is_refused() -> None:
    model = tiny_guarded.paligemma()
    _, processor = BUILDERS["llava"]()
    with pytest.raises(UnavailableError, match="cannot use a paligemma model"):
        VisionLanguageModel(model, processor)


@pytest.mark.parametrize(("config", "why"), [(Florence2Config, "encoder and decoder"), (IdeficsConfig, "which images")])
def test_other_kinds_are_refused_by_their_configuration(config: Any, why: str) -> None:
    with pytest.raises(UnavailableError, match=why):
        check_kind(config())


BF16 = {"loss": 2e-3, "gradient": 0.03, "direction": 0.9995}
"""bfloat16 against the same float32 sums, relative: measured 1.5e-4, 0.017 of the largest gradient, cosine 0.99984."""


@pytest.mark.parametrize("kind", ["llava", "qwen2_5_vl"])
def test_bfloat16_forest_is_as_good_as_bfloat16_rows(kind: str) -> None:
    exact_loss, exact = fast(tiny(kind), forest=True)
    flat = torch.cat([part.flatten() for part in exact.values()])
    for forest in (True, False):
        loss, found = fast(tiny(kind, torch.bfloat16), forest=forest)
        assert abs(loss - exact_loss) <= BF16["loss"] * abs(exact_loss)
        assert worst(found, exact) <= BF16["gradient"]
        mine = torch.cat([part.flatten() for part in found.values()])
        assert torch.nn.functional.cosine_similarity(mine, flat, dim=0) >= BF16["direction"]


@pytest.mark.parametrize("forest", [True, False], ids=["forest", "rows"])
@pytest.mark.parametrize("kind", ["llava", "qwen2_5_vl", "gemma3"])
def test_margin_is_exactly_zero_at_the_start_in_bfloat16(kind: str, forest: bool) -> None:
    vlm = tiny(kind, torch.bfloat16, adapted=False)
    encoder, examples = encode(vlm, TERMS, PAIRS)
    tally = engine(vlm, TERMS, encoder, forest=forest).accumulate(examples, 1.0)
    assert tally.sums["chosen"].item() == tally.sums["rejected"].item() == tally.sums["kl"].item() == 0.0
