"""The tiny LLaVA with a convolutional stem is an ordinary model folder with 36 image tokens."""

import numpy as np
import pytest
import torch

from medpo_cli.models.generate import Request, generate
from medpo_cli.models.load import load_model
from medpo_cli.models.tiny import save
from medpo_cli.models.tiny_conv import build_llava_conv
from medpo_cli.schema.records import Decoding

SENTENCES = ["Is there a nodule on the left?", "Yes, there is a small nodule on the left."]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    model, processor = build_llava_conv(SENTENCES, widths=(8, 16, 32), depths=(1, 1, 1), hidden=32, layers=1, heads=2)
    return save(tmp_path_factory.mktemp("conv") / "model", model, processor)


def picture(seed):
    grey = np.random.default_rng(seed).integers(0, 256, (96, 96), dtype=np.uint8)
    return np.repeat(grey[:, :, None], 3, axis=2)


def test_a_picture_becomes_six_by_six_tokens(folder):
    vlm = load_model(folder)
    prompt = vlm.encode_prompt("Is there a nodule on the left?", [picture(0)])
    assert int(prompt.image_positions.sum()) == 36  # 96 / 16 = 6 a side, no class token
    (features,) = vlm.image_features([prompt])
    assert features is not None


def test_it_answers_and_the_picture_matters(folder):
    vlm = load_model(folder)
    requests = [Request("Is there a nodule on the left?", [picture(seed)], seed=0) for seed in (0, 1)]
    answers = generate(vlm, requests, Decoding(max_tokens=4))
    assert len(answers) == 2
    with torch.no_grad():
        values = [vlm.encode_prompt("Is it?", [picture(seed)]).vision["pixel_values"] for seed in (0, 1)]
        tokens = [vlm.model.get_image_features(value).pooler_output[0] for value in values]
    assert not torch.allclose(tokens[0], tokens[1])


def test_the_pixels_are_the_grey_values_scaled(folder):
    vlm = load_model(folder)
    values = vlm.encode_prompt("Is it?", [np.full((96, 96, 3), 255, np.uint8)]).vision["pixel_values"]
    assert torch.allclose(values, torch.full_like(values, (1 - 0.5) / 0.25))  # mean .5, std .25: 2


def test_equal_seeds_equal_weights():
    first, second, other = (
        build_llava_conv(SENTENCES, widths=(8, 16, 32), depths=(1, 1, 1), hidden=32, layers=1, heads=2, seed=seed)[0]
        for seed in (1, 1, 2)
    )
    same = [torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True)]
    assert all(same)
    assert not torch.equal(first.lm_head.weight, other.lm_head.weight)
