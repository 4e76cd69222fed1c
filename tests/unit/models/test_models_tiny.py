"""The tiny models load as a user's folder does, and are the same for the same arguments."""

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForImageTextToText

from medpo_cli.models import tiny
from medpo_cli.models.processor import load_processor

BUILDERS = [tiny.build_llava, tiny.build_qwen2_5_vl]
QUESTION = [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "Is there a nodule?"}]}]


def test_every_text_survives_the_tokenizer() -> None:
    tokenizer = tiny.build_tokenizer()
    for text in ["The heart is normal in size.", "Größe 5 µm, 心臓 🫀", " two  spaces\n"]:
        assert tokenizer.decode(tokenizer.encode(text)) == text


def test_a_frequent_word_is_one_token() -> None:
    tokenizer = tiny.build_tokenizer(["The heart is enlarged."] * 3, vocab_size=400)
    assert tokenizer.tokenize("The heart is enlarged.") == ["The", "Ġheart", "Ġis", "Ġenlarged", "."]


@pytest.mark.parametrize("build", BUILDERS)
def test_the_prompt_is_an_exact_prefix_of_prompt_and_answer(build) -> None:  # type: ignore[no-untyped-def]
    _, processor = build()
    prompt = processor.apply_chat_template(QUESTION, add_generation_prompt=True, tokenize=False)
    answer = {"role": "assistant", "content": [{"type": "text", "text": "No."}]}
    both = processor.apply_chat_template([*QUESTION, answer], tokenize=False)
    assert both == prompt + "No." + tiny.END


@pytest.mark.parametrize("build", BUILDERS)
def test_a_saved_folder_gives_the_same_logits(build, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    model, processor = build()
    tiny.save(tmp_path, model, processor)
    loaded, reread = AutoModelForImageTextToText.from_pretrained(tmp_path), load_processor(tmp_path)
    prompt = processor.apply_chat_template(QUESTION, add_generation_prompt=True, tokenize=False)
    image = np.arange(24 * 40 * 3, dtype=np.uint8).reshape(24, 40, 3)
    inputs, again = (p(images=[image], text=[prompt], return_tensors="pt") for p in (processor, reread))
    assert inputs["input_ids"].tolist() == again["input_ids"].tolist()
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, loaded(**again).logits)


@pytest.mark.parametrize("build", BUILDERS)
def test_weights_depend_on_the_seed_alone(build) -> None:  # type: ignore[no-untyped-def]
    torch.manual_seed(1)
    first = build(seed=3)[0].state_dict()
    torch.manual_seed(2)
    second, other = build(seed=3)[0].state_dict(), build(seed=4)[0].state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not all(torch.equal(first[name], other[name]) for name in first)


@pytest.mark.parametrize(("strategy", "tokens"), [("full", 17), ("default", 16)])
def test_llava_image_tokens(strategy: str, tokens: int) -> None:
    """32 / 8 = 4, 4 x 4 = 16 patches, one more with the class token."""
    _, processor = tiny.build_llava(strategy=strategy)
    image = np.zeros((32, 32, 3), np.uint8)
    ids = processor(images=[image], text=[tiny.IMAGE], return_tensors="pt")["input_ids"]
    assert ids.tolist() == [[processor.image_token_id] * tokens]
