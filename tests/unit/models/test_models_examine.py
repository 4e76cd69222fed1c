"""``medpo doctor --deep`` on the embedded model, whole and spoiled."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from medpo_cli.models import examine
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.load import load_model
from medpo_cli.schema.config import SampleConfig
from medpo_cli.schema.diagnosis import Diagnosis
from medpo_cli.stages import doctor


@pytest.fixture(scope="module")
def vlm(demo_model: Path) -> VisionLanguageModel:
    return load_model(demo_model, device="cpu")


def looked(folder: Path, **settings: Any) -> dict[str, Diagnosis]:
    found = examine.examine(folder, SampleConfig(device="cpu", **settings))
    return {one.subject: one for one in found}


def test_the_embedded_model_is_fit(demo_model: Path) -> None:
    found = looked(demo_model)
    assert {name: one.state for name, one in found.items()} == dict.fromkeys(
        ("model", "image tokens", "template", "offsets", "frozen", "4 bit"), "ok"
    )
    assert "37 for 64 x 64 pixels, 37 for 448 x 336 pixels" in found["image tokens"].text
    assert "0 in tower and projector" in found["frozen"].text
    assert "takes 21 layers" in found["4 bit"].text.replace("would take", "takes")


def test_a_model_in_4_bit_is_counted(demo_model: Path) -> None:
    found = looked(demo_model, quantize="nf4")
    assert found["4 bit"].text == "21 layers of the language model in 4 bit, 0 outside it"
    assert all(one.state == "ok" for one in found.values())


def test_a_skip_list_that_protects_nothing_is_found(demo_model: Path) -> None:
    skeleton = examine._skeleton(demo_model, False)
    inside, astray, left = examine.conversions(skeleton, ["lm_head"])
    assert (inside, left) == (21, 0)
    assert astray > 0
    assert examine.conversions(skeleton, ["model.language_model"])[2] == 21


def test_a_template_that_drops_the_question(vlm: VisionLanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vlm.processor, "chat_template", "{% if add_generation_prompt %}A:{% endif %}<image>")
    assert [(one.state, one.text) for one in examine.template(vlm)] == [
        ("error", "the chat template drops the question")
    ]


def test_a_template_that_opens_no_answer(vlm: VisionLanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vlm.processor, "chat_template", "{{ messages[0]['content'][1]['text'] }}")
    assert [one.state for one in examine.template(vlm)] == ["warning"]


def test_offsets_that_skip_letters(vlm: VisionLanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = vlm.encode_answer

    def spoiled(text: str) -> Any:
        answer = whole(text)
        return type(answer)(answer.ids, [(0, 1)] * len(answer.offsets))

    monkeypatch.setattr(vlm, "encode_answer", spoiled)
    assert [one.state for one in examine.offsets(vlm)] == ["error"]


def test_another_number_of_features_is_an_error(vlm: VisionLanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = vlm.image_features

    def fewer(prompts: Any) -> Any:
        (features,) = whole(prompts)
        return [type(features)(tuple(part[:-1] for part in features.tokens))]

    monkeypatch.setattr(vlm, "image_features", fewer)
    (found,) = examine._guarded(examine.image_tokens, vlm)
    assert (found.subject, found.state) == ("image tokens", "error")
    assert "disagree" in found.text


def test_logits_that_are_no_numbers(vlm: VisionLanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vlm, "forward", lambda *_args, **_more: torch.full((1, 1, 4), torch.nan))
    assert [one.subject for one in examine.image_tokens(vlm)] == ["forward"]


def test_a_processor_of_another_model_is_one_entry(tmp_path: Path, demo_model: Path) -> None:
    folder = Path(shutil.copytree(demo_model, tmp_path / "model"))
    settings = json.loads((folder / "processor_config.json").read_text())
    settings["num_additional_image_tokens"] = 5
    (folder / "processor_config.json").write_text(json.dumps(settings))
    found = list(doctor.deep(SampleConfig(model=str(folder), device="cpu")))
    (broken,) = [one for one in found if one.state == "error"]
    assert (broken.area, broken.code) == ("loaded", 69)
    assert "disagree about images" in broken.text
