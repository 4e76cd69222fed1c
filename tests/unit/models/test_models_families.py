"""What each family's entry claims, proved on tiny random models of its stock classes."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from data import tiny_newer
from data.tiny_families import BUILDERS
from data.tiny_guarded import mllama, qwen3_5
from PIL import Image
from transformers.models.smolvlm.processing_smolvlm import get_image_prompt_string

from medpo_cli.errors import UnavailableError
from medpo_cli.models import tiny
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.family import FAMILIES, ImageFeatures
from medpo_cli.models.family.generic import Generic
from medpo_cli.models.generate import Request, generate
from medpo_cli.models.load import load_model
from medpo_cli.models.lora import add_lora, trainable
from medpo_cli.models.score import answer_logprobs
from medpo_cli.schema.records import Decoding

EXPECTED = {
    "qwen2_vl": ("qwen_vl", True),
    "qwen3_vl": ("qwen_vl", True),
    "llava_next": ("llava", True),
    "internvl": ("internvl", True),
    "idefics3": ("idefics", True),
    "gemma3": ("gemma3", True),
    "llava_onevision": ("llava", True),
    "smolvlm": ("idefics", True),
    "glm4v": ("qwen_vl", True),
    "mistral3": ("mistral3", True),
}


@pytest.fixture(params=sorted(BUILDERS))
def member(request: pytest.FixtureRequest) -> VisionLanguageModel:
    return VisionLanguageModel(*BUILDERS[request.param](), name=request.param)


def whole(vlm: VisionLanguageModel, ids: torch.Tensor, prompt) -> torch.Tensor:  # type: ignore[no-untyped-def]
    """The library's own forward, pixels and all."""
    with torch.no_grad():
        return vlm.base(input_ids=ids, **prompt.vision, **vlm.family.token_inputs(ids)).logits


def test_every_family_is_tried_here() -> None:
    """LLaVA and Qwen2.5-VL have their own tests."""
    tried = set(BUILDERS) | {"llava", "qwen2_5_vl"}
    assert tried == {kind for family in FAMILIES for kind in family.model_types}


def test_family_and_forest(member: VisionLanguageModel) -> None:
    assert (member.family.name, member.forest) == EXPECTED[member.name]


def test_token_types_are_the_processors(member: VisionLanguageModel, images: list[np.ndarray]) -> None:
    prompt = member.encode_prompt("?", images[:1])
    features = member.image_features([prompt])[0]
    assert int(prompt.image_positions.sum()) == sum(len(part) for part in features.tokens)
    ours = member.family.token_inputs(prompt.input_ids[None])
    text = member.processor.apply_chat_template(
        [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": "?"}]}], add_generation_prompt=True
    )
    theirs = member.processor(images=[Image.fromarray(images[0])], text=[text], return_tensors="pt")
    for name, types in ours.items():
        assert torch.equal(types, theirs[name].long())


def test_injected_features_give_the_librarys_logits(member: VisionLanguageModel, images: list[np.ndarray]) -> None:
    prompt, answer = member.encode_prompt("Which side?", images[:2]), member.encode_answer("The left.")
    ids = torch.cat([prompt.input_ids, answer.ids])[None]
    ours = member.forward(
        ids, features=member.image_features([prompt]), position_ids=member.row_positions([prompt], ids.shape[1])
    )
    torch.testing.assert_close(ours, whole(member, ids, prompt), rtol=0, atol=2e-5)


def test_the_image_matters(member: VisionLanguageModel, images: list[np.ndarray]) -> None:
    """Or all tests of images here would pass on anything."""
    prompts = [member.encode_prompt("Which side?", [image]) for image in (images[0], 255 - images[0])]
    one, other = (whole(member, prompt.input_ids[None], prompt)[0, -1] for prompt in prompts)
    assert torch.equal(prompts[0].input_ids, prompts[1].input_ids)
    assert (one - other).abs().max() > 1e-3


def test_features_do_not_depend_on_their_neighbours(member: VisionLanguageModel, images: list[np.ndarray]) -> None:
    prompts = [member.encode_prompt("?", [image]) for image in images]
    for prompt, together in zip(prompts, member.image_features(prompts), strict=True):
        alone = member.image_features([prompt])[0]
        assert len(alone.tokens) == len(together.tokens)
        for one, other in zip(alone.tokens, together.tokens, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=2e-5)


def test_a_tree_mask_equals_separate_rows(member: VisionLanguageModel, images: list[np.ndarray]) -> None:
    """Two answers behind one prompt, the second blind to the first, against two rows."""
    prompt = member.encode_prompt("Is there a nodule?", images[:1])
    answers = [member.encode_answer(text).ids for text in ("Yes, on the left.", "No.")]
    ids = torch.cat([prompt.input_ids, *answers])[None]
    size, first, total = len(prompt), len(answers[0]), ids.shape[1]
    end = torch.tensor([[total] * size + [size + first] * first + [total] * (total - size - first)])
    tails = [member.positions(prompt, size + len(answer))[:, size:] for answer in answers]
    positions = torch.cat([member.positions(prompt, size), *tails], dim=1)[:, None]
    features = member.image_features([prompt])
    mask = member.family.tree_mask(end, ids)
    tree = member.forward(ids, features=features, attention_mask=mask, position_ids=positions)[0]
    for answer, start in zip(answers, (size, size + first), strict=True):
        alone = whole(member, torch.cat([prompt.input_ids, answer])[None], prompt)[0, size:]
        torch.testing.assert_close(tree[start : start + len(answer)], alone, rtol=0, atol=2e-5)


def test_batches_do_not_change_answers(member: VisionLanguageModel, images: list[np.ndarray]) -> None:
    asked = [Request(text, [image]) for image in images for text in ("Is there a nodule?", "?")]
    asked.append(Request("Hello", []))
    decoding = Decoding(max_tokens=8)
    together = generate(member, asked, decoding)
    alone = [generate(member, [one], decoding, batch=1)[0] for one in asked]
    assert [answers[0].text for answers in together] == [answers[0].text for answers in alone]


def test_answers_are_the_librarys(member: VisionLanguageModel, images: list[np.ndarray]) -> None:
    for image in images[:2]:
        prompt = member.encode_prompt("Which side?", [image])
        ids = prompt.input_ids[None]
        theirs = member.base.generate(
            input_ids=ids, **prompt.vision, **member.family.token_inputs(ids), max_new_tokens=8, do_sample=False
        )
        ours = generate(member, [Request("Which side?", [image])], Decoding(max_tokens=8))[0][0]
        assert ours.text == member.decode(theirs[0, len(prompt) :].tolist())


def test_scores_do_not_depend_on_the_batch(member: VisionLanguageModel, images: list[np.ndarray]) -> None:
    items = [("Is there a nodule?", [image], text) for image in images for text in ("Yes.", "No nodule is seen.")]
    for item, together in zip(items, answer_logprobs(member, items), strict=True):
        torch.testing.assert_close(together, answer_logprobs(member, [item])[0], rtol=0, atol=2e-5)


@pytest.mark.parametrize("change", ["one prompt less", "one feature less", "none"])
def test_placeholders_and_features_must_be_equally_many(
    member: VisionLanguageModel, images: list[np.ndarray], change: str
) -> None:
    prompts = [member.encode_prompt("?", [image]) for image in images[:1] * 2]
    ids = torch.stack([prompt.input_ids for prompt in prompts])
    features = member.image_features(prompts)
    count = int((ids == member.image_token_id).sum())
    if change == "one feature less":
        last = features[1].tokens
        features[1] = ImageFeatures((*last[:-1], last[-1][:-1]), features[1].deepstack)
    kept = {"one prompt less": features[:1], "one feature less": features, "none": []}[change]
    made = {"one prompt less": count // 2, "one feature less": count - 1, "none": 0}[change]
    with pytest.raises(UnavailableError, match=f"disagree about images: {count} image tokens for {made} features"):
        member.forward(ids, features=kept)


@pytest.mark.parametrize("kind", sorted(tiny_newer.BUILDERS))
def test_a_saved_folder_loads(kind: str, tmp_path: Path) -> None:
    """Also where torchvision and num2words are missing, which the original processors demand."""
    model, processor = tiny_newer.BUILDERS[kind]()
    folder = tiny.save(tmp_path / "model", model, processor)
    if kind == "smolvlm":
        settings = json.loads((folder / "processor_config.json").read_text())
        settings["processor_class"] = "SmolVLMProcessor"
        (folder / "processor_config.json").write_text(json.dumps(settings))
    loaded = load_model(folder)
    picture = [np.zeros((32, 48, 3), np.uint8)]
    known = VisionLanguageModel(model, processor).encode_prompt("?", picture)
    assert torch.equal(loaded.encode_prompt("?", picture).input_ids, known.input_ids)
    assert loaded.forest


def test_idefics_processor_writes_what_smolvlms_would() -> None:
    _, processor = BUILDERS["smolvlm"]()
    for rows, columns in ((0, 0), (2, 3)):
        ours = processor.replace_image_token({"rows": [[rows]], "cols": [[columns]]}, 0)
        tokens = ("<fake_token_around_image>", "<image>", "<global-img>")
        assert ours == get_image_prompt_string(rows, columns, processor.image_seq_len, *tokens)


def test_lora_stays_in_the_language_model(member: VisionLanguageModel) -> None:
    """2 layers, 7 linears (GLM-4V: 6), A and B: 28 tensors (the check inside raises if one lies elsewhere)."""
    add_lora(member, rank=2)
    assert len(trainable(member)) == (24 if member.name == "glm4v" else 28)


def test_the_generic_family_gives_the_same_answers(images: list[np.ndarray]) -> None:
    """A LLaVA treated as an unknown model: slower, same words and scores."""
    known, unknown = VisionLanguageModel(*tiny.build_llava()), VisionLanguageModel(*tiny.build_llava())
    unknown.family = Generic(unknown.base, unknown.image_token_id)
    asked = [Request(text, [image]) for image in images for text in ("Is there a nodule?", "?")]
    decoding = Decoding(max_tokens=8)
    assert not unknown.forest
    assert isinstance(unknown.image_features([unknown.encode_prompt("?", images[:1])])[0], ImageFeatures)
    ours, theirs = generate(known, asked, decoding), generate(unknown, asked, decoding)
    assert [answers[0].text for answers in ours] == [answers[0].text for answers in theirs]
    items = [(one.prompt, one.images, "No.") for one in asked]
    for one, other in zip(answer_logprobs(known, items), answer_logprobs(unknown, items), strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-5)


@pytest.mark.parametrize("build", [mllama, qwen3_5])
def test_guarded_models_answer_and_score(build, images: list[np.ndarray]) -> None:  # type: ignore[no-untyped-def]
    vlm = VisionLanguageModel(*build())
    assert (vlm.family.name, vlm.forest) == ("generic", False)
    prompt, answer = vlm.encode_prompt("Which side?", images[:1]), vlm.encode_answer("No nodule.").ids
    ids = prompt.input_ids[None]
    types = vlm.family.token_inputs(ids)
    theirs = vlm.base.generate(input_ids=ids, **prompt.vision, **types, max_new_tokens=8, do_sample=False)
    one, two = generate(vlm, [Request("Which side?", [image]) for image in images[:2]], Decoding(max_tokens=8))
    assert one[0].text == vlm.decode(theirs[0, len(prompt) :].tolist())
    assert (one[0].text, one[0].logprob) != (two[0].text, two[0].logprob)
    said = torch.tensor(vlm.tokenizer(one[0].text, add_special_tokens=False)["input_ids"])
    scores = answer_logprobs(vlm, [("Which side?", images[:1], one[0].text), ("?", images[1:2], "No nodule.")])
    assert len(scores[1]) == len(answer)
    if one[0].finish == "stop" and len(said) + 1 == one[0].tokens:
        assert float(scores[0].sum()) == pytest.approx(one[0].logprob, abs=1e-3)


@pytest.mark.parametrize("change", ["eager", "window"])
def test_no_tree_where_attention_is_not_plain(change: str) -> None:
    model, processor = tiny.build_llava()
    if change == "eager":
        model.set_attn_implementation("eager")
    else:
        model.config.text_config.layer_types = ["full_attention", "sliding_attention"]
    assert not VisionLanguageModel(model, processor).forest
