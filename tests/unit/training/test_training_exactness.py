"""The fast path against a naive form written here: eight full passes, full logits, everything separate."""

import inspect
from typing import Any

import pytest
import torch
from data.training_pairs import BUILDERS, PAIRS, encode, engine, gradients, picture, tiny
from PIL import Image
from torch import Tensor
from transformers.models.mllama.processing_mllama import (
    convert_sparse_cross_attention_mask_to_dense,
    get_cross_attention_token_mask,
)

from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.family import masks
from medpo_cli.models.family.generic import Generic
from medpo_cli.schema.records import ImageRef, Pair
from medpo_cli.training import layout as layouts
from medpo_cli.training.features import FeatureCache
from medpo_cli.training.objectives.methods import resolve
from medpo_cli.training.verify import difference

BETA, GAMMA, ALPHA, LAMBDA, NLL = 0.5, 0.5, 0.1, 0.3, 0.7
TERMS = resolve("fire-mpo", beta=BETA, gamma=GAMMA, alpha=ALPHA, kl_forward=LAMBDA, nll=NLL)


def full_logits(vlm: VisionLanguageModel, image: ImageRef, prompt: str, answer: list[int]) -> tuple[Tensor, int]:
    """Log-probabilities at every position of prompt and answer in one plain forward pass, and the prompt's length."""
    content = [{"type": "image"}, {"type": "text", "text": prompt}]
    text = vlm.processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    inputs: dict[str, Any] = dict(
        vlm.processor(images=[Image.fromarray(picture(image))], text=[text], return_tensors="pt")
    )
    ids = torch.cat([inputs.pop("input_ids")[0], torch.tensor(answer)])[None]
    inputs["pixel_values"] = inputs["pixel_values"].to(vlm.dtype)
    inputs["attention_mask"] = torch.ones_like(ids)
    for name in ("token_type_ids", "mm_token_type_ids"):
        if name in inspect.signature(vlm.base.forward).parameters:
            inputs[name] = (ids == vlm.image_token_id).int()
    if "cross_attention_mask" in inputs:  # Mllama's processor wrote it for the prompt alone
        reads = [get_cross_attention_token_mask(ids[0].tolist(), vlm.image_token_id)]
        tiles = inputs["aspect_ratio_mask"].sum(-1).tolist()
        inputs["cross_attention_mask"] = torch.from_numpy(
            convert_sparse_cross_attention_mask_to_dense(reads, tiles, 2, ids.shape[1])
        )
    logits = vlm.model(input_ids=ids, **inputs).logits[0]
    return logits.log_softmax(-1), ids.shape[1] - len(answer)


def span_mask(vlm: VisionLanguageModel, text: str, spans: list[tuple[int, int]]) -> Tensor:
    offsets = vlm.encode_answer(text).offsets
    covered = {i for start, end in spans for i in range(start, end) if text[i] != " "}
    return torch.tensor([bool(covered & set(range(s, e))) for s, e in offsets])


def naive_loss(vlm: VisionLanguageModel, pair: Pair) -> Tensor:
    sides = {}
    for side in ("chosen", "rejected"):
        text = getattr(pair, side)
        ids = vlm.encode_answer(text).ids
        sides[side] = (ids, span_mask(vlm, text, [getattr(span, side) for span in pair.spans]))

    def both(image: ImageRef, side: str) -> tuple[Tensor, Tensor]:
        ids, _ = sides[side]
        policy, start = full_logits(vlm, image, pair.prompt, ids.tolist())
        with torch.no_grad(), vlm.model.disable_adapter():
            reference, _ = full_logits(vlm, image, pair.prompt, ids.tolist())
        return policy[start - 1 : -1], reference[start - 1 : -1]

    def ratio(image: ImageRef, side: str) -> Tensor:
        ids, mask = sides[side]
        policy, reference = both(image, side)
        rows = torch.arange(len(ids))
        return ((policy - reference)[rows, ids] * mask).sum()

    clean = pair.images[0]
    loss = -torch.nn.functional.logsigmoid(BETA * (ratio(clean, "chosen") - ratio(clean, "rejected")))
    if pair.corrupted:
        bad = pair.corrupted.image
        loss = loss - GAMMA * torch.nn.functional.logsigmoid(BETA * (ratio(bad, "rejected") - ratio(bad, "chosen")))
    ids, mask = sides["chosen"]
    p, r = both(clean, "chosen")
    kl = LAMBDA * (r.exp() * (r - p)).sum(-1) + (1 - LAMBDA) * (p.exp() * (p - r)).sum(-1)
    return loss + ALPHA * (kl * mask).sum() - NLL * p[torch.arange(len(ids)), ids].mean()


def naive(vlm: VisionLanguageModel) -> tuple[float, dict[str, Tensor]]:
    loss = torch.stack([naive_loss(vlm, pair) for pair in PAIRS]).mean()
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.item(), gradients(vlm)


def fast(vlm: VisionLanguageModel, *, forest: bool) -> tuple[float, dict[str, Tensor]]:
    encoder, examples = encode(vlm, TERMS, PAIRS)
    run = engine(vlm, TERMS, encoder, forest=forest)
    tally = run.accumulate(examples, 1 / len(PAIRS))
    return tally.sums["loss"].item() / len(PAIRS), gradients(vlm)


def worst(left: dict[str, Tensor], right: dict[str, Tensor]) -> float:
    """Largest difference relative to the largest gradient."""
    assert left.keys() == right.keys()
    scale = max(float(g.abs().max()) for g in right.values())
    return max(float((left[name] - right[name]).abs().max()) for name in left) / scale


@pytest.mark.parametrize("forest", [True, False], ids=["forest", "rows"])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("kind", ["llava", "qwen2_5_vl"])
def test_loss_and_gradients_equal_the_naive_form(kind: str, dtype: torch.dtype, bound: float, forest: bool) -> None:
    vlm = tiny(kind, dtype)
    expected_loss, expected = naive(vlm)
    loss, found = fast(vlm, forest=forest)
    assert abs(loss - expected_loss) <= bound * max(1.0, abs(expected_loss))
    assert worst(found, expected) <= bound


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-10), (torch.float32, 1e-5)])
@pytest.mark.parametrize("kind", sorted(set(BUILDERS) - {"llava", "qwen2_5_vl"}))
def test_every_other_family_equals_the_naive_form(kind: str, dtype: torch.dtype, bound: float) -> None:
    vlm = tiny(kind, dtype)
    expected_loss, expected = naive(vlm)
    for forest in (True, False):
        loss, found = fast(vlm, forest=forest)
        assert abs(loss - expected_loss) <= bound * max(1.0, abs(expected_loss))
        assert worst(found, expected) <= bound


def test_a_model_of_no_known_family_equals_the_naive_form() -> None:
    vlm = tiny("llava", torch.float64)
    vlm.family = Generic(vlm.base, vlm.image_token_id)
    assert not vlm.forest
    expected_loss, expected = naive(vlm)
    loss, found = fast(vlm, forest=False)
    assert abs(loss - expected_loss) <= 1e-10
    assert worst(found, expected) <= 1e-10


@pytest.mark.parametrize("kind", sorted(BUILDERS))
def test_a_plain_causal_mask_would_be_noticed(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    vlm = tiny(kind, torch.float64)
    _, expected = naive(vlm)

    def causal(end: Tensor) -> Tensor:
        return torch.ones(end.shape[1], end.shape[1], dtype=torch.bool).tril().expand(len(end), 1, -1, -1)

    monkeypatch.setattr(masks, "tree", causal)
    _, found = fast(vlm, forest=True)
    assert worst(found, expected) > 1e-2
    encoder, examples = encode(vlm, TERMS, PAIRS)
    assert difference(vlm, examples, FeatureCache(vlm, encoder.encode_prompt)) > 1e-3


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "glm4v"])
def test_positions_of_branches_matter(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    vlm = tiny(kind, torch.float64)
    _, expected = naive(vlm)
    packed = layouts.collate

    def consecutive(*args: Any, **kwargs: Any) -> layouts.Layout:
        made = packed(*args, **kwargs)
        made.position_ids.copy_(torch.arange(made.input_ids.shape[1]).expand_as(made.position_ids))
        return made

    monkeypatch.setattr("medpo_cli.training.engine.collate", consecutive)
    _, found = fast(vlm, forest=True)
    assert worst(found, expected) > 1e-2


@pytest.mark.parametrize("budget", [1, 200, 10_000])
def test_micro_batches_do_not_matter(budget: int) -> None:
    vlm = tiny("llava", torch.float64)
    encoder, examples = encode(vlm, TERMS, PAIRS)
    run = engine(vlm, TERMS, encoder, forest=True)
    run.budget = budget
    run.accumulate(examples, 1.0)
    together = gradients(vlm)
    for example in reversed(examples):
        run.accumulate([example], 1.0)
    assert worst(gradients(vlm), together) <= 1e-12


def test_shared_prefixes_save_tokens() -> None:
    vlm = tiny("llava")
    encoder, examples = encode(vlm, TERMS, PAIRS)
    units = [unit for example in examples for unit in example.units]
    shared, plain = (engine(vlm, TERMS, encoder, forest=forest).layouts(units) for forest in (True, False))
    assert sum(x.tokens for x in shared) < 0.6 * sum(x.tokens for x in plain)


@pytest.mark.parametrize("kind", ["llava", "qwen2_5_vl"])
@pytest.mark.parametrize("forest", [True, False], ids=["forest", "rows"])
def test_untrained_adapters_give_a_margin_of_exactly_zero(kind: str, forest: bool) -> None:
    vlm = tiny(kind, adapted=False)
    encoder, examples = encode(vlm, resolve("fire-mpo"), PAIRS)
    tally = engine(vlm, resolve("fire-mpo"), encoder, forest=forest).accumulate(examples, 1.0)
    assert tally.sums["chosen"].item() == tally.sums["rejected"].item() == tally.sums["kl"].item() == 0.0
    assert tally.sums["rank"].item() / len(PAIRS) == pytest.approx(0.6931471805599453, abs=1e-6)
    assert tally.sums["visual"].item() / 4 == pytest.approx(0.6931471805599453, abs=1e-6)


def test_reference_from_memory_equals_a_fresh_one() -> None:
    vlm = tiny("llava", torch.float64)
    encoder, examples = encode(vlm, TERMS, PAIRS)
    run = engine(vlm, TERMS, encoder, forest=True, limit=10**9)
    run.accumulate(examples, 1.0)
    fresh = gradients(vlm)
    assert run.reference.store.size > 0
    run.budget = 1  # another layout: what was kept must not depend on it
    run.accumulate(examples, 1.0)
    assert worst(gradients(vlm), fresh) <= 1e-12
