"""Encoding, frozen features and logits of a loaded model."""

import numpy as np
import pytest
import torch

from medpo_cli.errors import RecordError
from medpo_cli.models.base import VisionLanguageModel


def plain_logits(vlm: VisionLanguageModel, ids: torch.Tensor, prompt) -> torch.Tensor:  # type: ignore[no-untyped-def]
    """The library's own forward, pixels and all."""
    types = {"mm_token_type_ids": (ids == vlm.image_token_id).int()} if vlm.family.name == "qwen_vl" else {}
    with torch.no_grad():
        return vlm.base(input_ids=ids, **prompt.vision, **types).logits


def test_prompt_has_its_image_tokens(vlm: VisionLanguageModel) -> None:
    """LLaVA: 16 patches + class token = 17. Qwen: 40 x 56 pixels are (40 / 8) * (56 / 8) = 35 merged patches."""
    prompt = vlm.encode_prompt("Is there a nodule?", [np.zeros((40, 56, 3), np.uint8)])
    assert int(prompt.image_positions.sum()) == {"llava": 17, "qwen_vl": 35}[vlm.family.name]
    assert prompt.input_ids.shape == prompt.image_positions.shape == (len(prompt),)
    assert prompt.input_ids[-1] == vlm.tokenizer.convert_tokens_to_ids("<|assistant|>")


def test_equal_pictures_have_equal_keys(vlm: VisionLanguageModel, images: list[np.ndarray]) -> None:
    keys = [vlm.encode_prompt(text, [image]).image_key for text in "ab" for image in images[:2]]
    assert keys[0] == keys[2] != keys[1] == keys[3]


def test_answer_is_tokenised_alone_with_offsets_in_code_points(llava: VisionLanguageModel) -> None:
    text = "No 🫀 nodule"
    answer = llava.encode_answer(text)
    assert answer.ids[-1] == llava.end_id
    assert answer.offsets[-1] == (len(text), len(text))
    assert "".join(dict.fromkeys(text[s:e] for s, e in answer.offsets)) == text
    assert llava.decode(answer.ids) == text


@pytest.mark.parametrize("bad", ["<image>", "a<|end|>b", "<|pad|>"])
def test_control_tokens_in_a_prompt_are_refused(llava: VisionLanguageModel, bad: str) -> None:
    with pytest.raises(RecordError) as caught:
        llava.encode_prompt(bad, [])
    assert (caught.value.reason, caught.value.path) == ("prompt-control-token", "$.prompt")
    assert bad not in caught.value.message


def test_texts_longer_than_the_model_are_refused_before_any_memory_is_taken(llava: VisionLanguageModel) -> None:
    """4096 positions; the demo's words are a token each at least."""
    llava.encode_prompt("no " * 2000, [])
    llava.encode_answer("no " * 2000)
    with pytest.raises(RecordError) as caught:
        llava.encode_prompt("no " * 100_000, [])
    assert (caught.value.reason, caught.value.path) == ("prompt-too-long", "$.prompt")
    with pytest.raises(RecordError) as caught:
        llava.encode_answer("no " * 100_000)
    assert caught.value.reason == "answer-too-long"


def test_injected_features_give_the_librarys_logits(vlm: VisionLanguageModel, images: list[np.ndarray]) -> None:
    prompt, answer = vlm.encode_prompt("Which side?", images[:2]), vlm.encode_answer("The left.")
    ids = torch.cat([prompt.input_ids, answer.ids])[None]
    features = vlm.image_features([prompt])
    ours = vlm.forward(ids, features=features, position_ids=vlm.row_positions([prompt], ids.shape[1]))
    torch.testing.assert_close(ours, plain_logits(vlm, ids, prompt), rtol=0, atol=1e-6)


def test_each_distinct_image_is_encoded_once(
    vlm: VisionLanguageModel, images: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    encode = vlm.family.encode_images
    monkeypatch.setattr(vlm.family, "encode_images", lambda prompts: seen.extend(prompts) or encode(prompts))
    prompts = [vlm.encode_prompt(text, [image]) for image in images[:2] for text in ("One?", "Two?")]
    first, second, third, _ = vlm.image_features([*prompts])
    assert len(seen) == 2
    assert first is second
    assert not torch.equal(first.tokens[0], third.tokens[0])
    assert not first.tokens[0].requires_grad


def test_features_do_not_depend_on_their_neighbours(vlm: VisionLanguageModel, images: list[np.ndarray]) -> None:
    prompts = [vlm.encode_prompt("?", [image]) for image in images]
    for prompt, together in zip(prompts, vlm.image_features(prompts), strict=True):
        alone = vlm.image_features([prompt])[0]
        torch.testing.assert_close(alone.tokens[0], together.tokens[0], rtol=0, atol=1e-5)


def test_rope_positions_jump_over_an_image(folders) -> None:  # type: ignore[no-untyped-def]
    """32 x 48 pixels: 4 x 6 merged patches, 24 tokens, but max(4, 6) = 6 positions.

    Prompt: <|user|> <|vision_start|> at 0, 1; image at 2..; the next token at 2 + 6 = 8.
    """
    from medpo_cli.models.load import load_model

    vlm = load_model(folders["qwen2_5_vl"])
    prompt = vlm.encode_prompt("?", [np.zeros((32, 48, 3), np.uint8)])
    positions = vlm.positions(prompt, len(prompt) + 2)
    assert positions.shape == (3, len(prompt) + 2)
    assert positions[:, :2].tolist() == [[0, 1]] * 3
    assert positions[0, 2:26].tolist() == [2] * 24
    assert positions[1, 2:26].tolist() == [2 + row for row in range(4) for _ in range(6)]
    assert positions[2, 2:26].tolist() == [2 + column for _ in range(4) for column in range(6)]
    assert positions[:, 26:].tolist() == [list(range(8, 8 + len(prompt) + 2 - 26))] * 3


def test_a_tree_mask_equals_separate_rows(vlm: VisionLanguageModel, images: list[np.ndarray]) -> None:
    """Two answers behind one prompt, the second blind to the first, against two rows."""
    prompt = vlm.encode_prompt("Is there a nodule?", images[:1])
    answers = [vlm.encode_answer(text).ids for text in ("Yes, on the left.", "No.")]
    features = vlm.image_features([prompt])
    ids = torch.cat([prompt.input_ids, *answers])[None]
    size, first = len(prompt), len(answers[0])
    mask = torch.ones(ids.shape[1], ids.shape[1]).tril().bool()
    mask[size + first :, size : size + first] = False
    tails = [vlm.positions(prompt, size + len(answer))[:, size:] for answer in answers]
    positions = torch.cat([vlm.positions(prompt, size), *tails], dim=1)[:, None]
    tree = vlm.forward(ids, features=features, attention_mask=mask[None, None], position_ids=positions)[0]
    assert vlm.forest
    for answer, start in zip(answers, (size, size + first), strict=True):
        row = torch.cat([prompt.input_ids, answer])[None]
        alone = plain_logits(vlm, row, prompt)[0, size:]
        torch.testing.assert_close(tree[start : start + len(answer)], alone, rtol=0, atol=1e-5)


def test_kept_logits_are_a_part_of_all(vlm: VisionLanguageModel, images: list[np.ndarray]) -> None:
    prompt = vlm.encode_prompt("?", images[:1])
    ids, features = prompt.input_ids[None], vlm.image_features([prompt])
    positions = vlm.row_positions([prompt], len(prompt))
    keep = torch.zeros_like(ids, dtype=torch.bool)
    keep[0, [3, len(prompt) - 1]] = True
    every = vlm.forward(ids, features=features, position_ids=positions)
    kept = vlm.forward(ids, features=features, position_ids=positions, logits_to_keep=keep)
    torch.testing.assert_close(kept, every[keep], rtol=0, atol=1e-5)
