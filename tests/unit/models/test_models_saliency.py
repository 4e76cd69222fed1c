"""Where an answer comes from: maps lie on the picture, follow the words, and find the lesions of the demo."""

from pathlib import Path

import numpy as np
import pytest
import torch
from data.tiny_guarded import mllama

from medpo_cli.demo.cases import write_cases
from medpo_cli.errors import RecordError
from medpo_cli.imaging.read import read_image
from medpo_cli.imaging.regions import region_mask, union
from medpo_cli.imaging.window import load_view
from medpo_cli.io.context import Context
from medpo_cli.io.stream import read_all
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.load import load_model
from medpo_cli.models.saliency import Method, Question, _by_channel, _coordinates, _pixels, saliency
from medpo_cli.schema.records import Case
from medpo_cli.stages.saliency import most_salient

METHODS: list[Method] = ["gradient", "occlusion", "attention"]


@pytest.fixture(scope="module")
def demo(demo_model: Path) -> VisionLanguageModel:
    return load_model(demo_model)


def picture(height: int, width: int, spot: tuple[int, int] | None = None) -> np.ndarray:
    made = np.full((height, width, 3), 40, np.uint8)
    if spot:
        y, x = spot
        made[y - 4 : y + 4, x - 4 : x + 4] = 255
    return made


@pytest.mark.parametrize("shape", [(96, 96), (96, 200), (200, 96), (61, 57)])
def test_coordinates_say_where_values_come_from(vlm: VisionLanguageModel, shape: tuple[int, int]) -> None:
    height, width = shape
    y, x = height // 2 + 7, width // 2 - 9
    spotted = Question("?", [picture(height, width, (y, x)), picture(80, 80)], "a")
    plain = Question("?", [picture(height, width), picture(80, 80)], "a")
    xs, ys, known = _coordinates(vlm, plain)
    seen, without = (_by_channel(_pixels(vlm.encode_prompt("?", q.images))).sum(1).numpy() for q in (spotted, plain))
    lit = (seen - without) > 0.5 * (seen - without).max()
    assert known[lit].all()
    assert np.median(xs[lit]) * width == pytest.approx(x, abs=0.02 * width + 1)
    assert np.median(ys[lit]) * height == pytest.approx(y, abs=0.02 * height + 1)
    assert not known.all()  # the second image's values are none of the first's


@pytest.mark.parametrize("method", METHODS)
def test_maps_are_on_the_picture_and_leave_the_model_as_it_was(demo: VisionLanguageModel, method: Method) -> None:
    before = demo.base.config.get_text_config()._attn_implementation
    question = Question("Is there a nodule?", [picture(80, 120, (30, 70))], "Yes, there is a nodule.")
    found = saliency(demo, question, method)
    assert found.shape == (80, 120)
    assert found.min() >= 0
    assert found.max() > 0
    np.testing.assert_array_equal(saliency(demo, question, method), found)
    assert demo.base.config.get_text_config()._attn_implementation == before
    assert all(parameter.grad is None and not parameter.requires_grad for parameter in demo.base.parameters())


def test_gradient_is_the_slope_of_the_words_log_probability(demo: VisionLanguageModel) -> None:
    """The sum of gradient x input over all values, against a finite difference along the input itself."""
    view = picture(96, 96, (30, 70))
    answer = demo.encode_answer("Yes").ids
    prompt = demo.encode_prompt("Is there a nodule?", [view])
    ids = torch.cat([prompt.input_ids, answer])[None]

    def value(scale: float) -> torch.Tensor:
        pixels = _pixels(prompt) * scale
        logits = demo.base(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels).logits[0]
        return logits[len(prompt) - 1 : -1].double().log_softmax(-1).gather(1, answer[:, None]).sum()

    pixels = _pixels(prompt).clone().requires_grad_(True)
    logits = demo.base(input_ids=ids, attention_mask=torch.ones_like(ids), pixel_values=pixels).logits[0]
    total = logits[len(prompt) - 1 : -1].log_softmax(-1).gather(1, answer[:, None]).sum()
    (slope,) = torch.autograd.grad(total, pixels)
    with torch.no_grad():
        difference = (value(1.001) - value(0.999)) / 0.002
    assert float((slope * _pixels(prompt)).sum()) == pytest.approx(float(difference), rel=0.05, abs=1e-3)


def test_words_choose_what_counts(demo: VisionLanguageModel) -> None:
    view = picture(96, 96, (30, 70))
    answer = "There is a nodule. No pleural effusion is seen."
    maps = [
        saliency(demo, Question("Describe the findings.", [view], answer, words), "gradient")
        for words in ([], [(11, 17)], [(22, 38)])
    ]
    assert not np.allclose(maps[1], maps[2])
    assert not np.allclose(maps[0], maps[1])
    with pytest.raises(RecordError) as caught:
        saliency(demo, Question("?", [view], answer, [(900, 901)]), "gradient")
    assert caught.value.reason == "saliency-words"


@pytest.mark.parametrize(("method", "least"), [("gradient", 0.2), ("occlusion", 0.1), ("attention", 0.2)])
def test_the_demo_model_looks_at_its_lesions(
    demo: VisionLanguageModel, tmp_path: Path, method: Method, least: float
) -> None:
    """Of the lesion, the most salient 5 % of the picture hold several times what chance would."""
    path = write_cases(tmp_path, images=12, split="test")
    with path.open("rb") as stream:
        records = list(read_all(stream, "cases", (Case,)))
    cases = [case for case in records if isinstance(case, Case) and case.regions and case.reference][:12]
    shares = []
    for case in cases:
        ref = case.images[0]
        image, view = read_image(tmp_path / ref.path), load_view(ref, Context(tmp_path))
        lesion = union([region_mask(r, image, Context(tmp_path), None, "$") for r in case.regions or []])[:, :, 0].T
        found = saliency(demo, Question(case.prompt, [view], case.reference or ""), method)
        shares.append(most_salient(found, 0.05)[lesion].mean())
    assert np.mean(shares) > least


def test_attention_of_flattened_patches_is_refused(folders: dict[str, Path]) -> None:
    qwen = load_model(folders["qwen2_5_vl"])
    question = Question("?", [picture(56, 56, (20, 30))], "yes")
    assert saliency(qwen, question, "gradient").max() > 0
    with pytest.raises(RecordError) as caught:
        saliency(qwen, question, "attention")
    assert caught.value.reason == "saliency-unplaced"


def test_gradients_reach_a_picture_that_is_read_by_cross_attention() -> None:
    """Mllama's mask of tiles is as long as the row: answer included."""
    vlm = VisionLanguageModel(*mllama())
    question = Question("Is there a nodule?", [picture(56, 56, (20, 30))], "Yes, there is.")
    assert saliency(vlm, question, "gradient").max() > 0
