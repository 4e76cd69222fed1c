"""Attention that is read: what it is, that reading changes nothing, and that it is the library's own."""

import contextlib
from typing import Any

import numpy as np
import pytest
import torch
from data.tiny_families import BUILDERS
from data.tiny_guarded import qwen3_5

from medpo_cli.errors import RecordError
from medpo_cli.models import tiny
from medpo_cli.models.attention import eager, image_attention
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.generate import Request, generate
from medpo_cli.models.lora import add_lora
from medpo_cli.models.score import answer_logprobs
from medpo_cli.schema.records import Decoding

ALL: dict[str, Any] = BUILDERS | {"llava": tiny.build_llava, "qwen2_5_vl": tiny.build_qwen2_5_vl}
GREEDY = Decoding(max_tokens=6)


@pytest.fixture(params=sorted(ALL))
def member(request: pytest.FixtureRequest) -> VisionLanguageModel:
    return VisionLanguageModel(*ALL[request.param](), name=request.param)


def test_it_is_the_librarys_own(member: VisionLanguageModel, images: list[np.ndarray]) -> None:
    """Against ``output_attentions`` of a model that is eager throughout; rows before the counted tokens."""
    prompt, answer = member.encode_prompt("Which side?", images[:2]), member.encode_answer("On the left.").ids
    counted = torch.arange(len(answer)) % 2 == 0
    ours = [image_attention(member, prompt), image_attention(member, prompt, answer, counted)]
    member.base.set_attn_implementation("eager")
    for found, ids, rows in (
        (ours[0], prompt.input_ids, torch.tensor([len(prompt) - 1])),
        (ours[1], torch.cat([prompt.input_ids, answer]), len(prompt) - 1 + counted.nonzero()[:, 0]),
    ):
        more = {**prompt.vision, **member.family.token_inputs(ids[None]), "use_cache": False}
        with torch.no_grad():
            layers = member.base(input_ids=ids[None], output_attentions=True, **more).attentions
        columns = prompt.image_positions.nonzero()[:, 0]
        wanted = torch.stack([layer[0][:, rows][:, :, columns].mean((0, 1)) for layer in layers])
        torch.testing.assert_close(found, wanted, rtol=0, atol=2e-6)
        assert found.shape == (len(layers), int(prompt.image_positions.sum()))
        assert (found.sum(-1) <= 1 + 1e-5).all()


def test_answers_are_the_same_under_eager_attention_and_after_it(
    member: VisionLanguageModel, images: list[np.ndarray]
) -> None:
    text = member.base.config.get_text_config()
    asked = [Request(question, [image]) for image in images[:2] for question in ("Which side?", "?")]
    items = [(one.prompt, one.images, "No.") for one in asked]
    before, scored = generate(member, asked, GREEDY), answer_logprobs(member, items)
    assert text._attn_implementation == "sdpa"
    with eager(member):
        assert text._attn_implementation == "eager"
        slow = [generate(member, [one], GREEDY)[0] for one in asked]
    image_attention(member, member.encode_prompt("?", images[:1]))
    assert text._attn_implementation == "sdpa"
    again, rescored = generate(member, asked, GREEDY), answer_logprobs(member, items)
    assert [one[0].text for one in slow] == [one[0].text for one in before]
    assert again == before
    assert all(torch.equal(one, other) for one, other in zip(scored, rescored, strict=True))


def test_the_implementation_comes_back_after_an_error() -> None:
    vlm = VisionLanguageModel(*tiny.build_llava())
    with pytest.raises(ValueError, match="stop"), eager(vlm):
        raise ValueError("stop")
    assert vlm.base.config.get_text_config()._attn_implementation == "sdpa"
    assert not any(module._forward_hooks for module in vlm.base.modules())


def test_adapters_change_what_is_read(images: list[np.ndarray]) -> None:
    vlm = VisionLanguageModel(*tiny.build_llava())
    add_lora(vlm, rank=2, seed=0)
    prompt = vlm.encode_prompt("Which side?", images[:1])
    before = image_attention(vlm, prompt)
    for name, parameter in vlm.model.named_parameters():
        if "lora_B" in name:
            parameter.data += 0.3
    assert not torch.allclose(before, image_attention(vlm, prompt))


def test_layers_without_attention_are_not_numbers(images: list[np.ndarray]) -> None:
    mixed = VisionLanguageModel(*qwen3_5())
    found = image_attention(mixed, mixed.encode_prompt("?", images[:1]))
    assert found.isnan().all(1).any()
    assert found.isfinite().all(1).any()


def test_attention_that_gives_no_weights_is_refused(images: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    vlm = VisionLanguageModel(*tiny.build_llava())
    monkeypatch.setattr("medpo_cli.models.attention.eager", lambda _vlm: contextlib.nullcontext())
    with pytest.raises(RecordError) as caught:
        image_attention(vlm, vlm.encode_prompt("?", images[:1]))
    assert caught.value.reason == "attention-unread"
