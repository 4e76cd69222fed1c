"""Sentence labels, weights and degrees that ``edit`` adds, and box rewards of rankings."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from medpo_cli.errors import RecordError
from medpo_cli.io.context import Context
from medpo_cli.schema.config import EditConfig
from medpo_cli.schema.extras import extras
from medpo_cli.schema.records import ImageRef, MaskRef, Pair, Policy, Ranking, Region, Response, Sample
from medpo_cli.stages.edit import run

TRUTH = "The heart is normal in size. There is a small left pleural effusion. There is a large left pneumothorax."
WRONG = "The heart is normal in size. There is a small right pleural effusion. There is a large left pneumothorax."


def sample(*answers: str, reference: str | None = TRUTH, **more: Any) -> Sample:
    fields = {"image": ImageRef(path="x.png"), "prompt": "Describe.", "task": "report", **more}
    return Sample(
        id="s", reference=reference, policy=Policy(model="m", digest="0" * 64),
        responses=[Response(text=answer) for answer in answers], **fields,
    )  # fmt: skip


def edited(answer: str, given: dict[str, Any] | None = None, **config: Any) -> tuple[list[Pair], list[RecordError]]:
    rejects: list[RecordError] = []
    context = Context(reject=lambda _id, error: rejects.append(error))
    made = run([sample(answer, **(given or {}))], EditConfig(**config), context)
    return [pair for pair in made if isinstance(pair, Pair)], rejects


def first(answer: str, given: dict[str, Any] | None = None, **config: Any) -> Pair:
    return edited(answer, given, **config)[0][0]


def test_nothing_is_added_unasked() -> None:
    pair = first(WRONG)
    assert (pair.weights, pair.ext) == (None, None)


def test_sentences_that_the_reference_confirms_and_contradicts() -> None:
    pair = first(WRONG, {"ext": {"own": 1, "align": {"degree": {"chosen": 0, "rejected": 1}}}}, sentence_labels=True)
    more = extras(pair)
    assert more.keep is not None
    assert [pair.chosen[slice(*place)] for place in more.keep.chosen] == TRUTH.replace(". ", ".|").split("|")
    assert [pair.rejected[slice(*place)] for place in more.keep.rejected] == [
        "There is a small right pleural effusion."
    ]
    assert (pair.ext or {})["own"] == 1
    assert more.degree is not None  # what was there stays


def test_an_omission_has_no_wrong_sentence() -> None:
    # As a span it touches a sentence that is right: to push that down would unteach it.
    pairs, rejects = edited("The heart is normal in size. There is a large left pneumothorax.", sentence_labels=True)
    assert [pair.origin for pair in pairs] == ["counterfactual"]
    assert [(error.reason, error.path) for error in rejects] == [("no-sentence", "$.spans")]
    assert "effusion" not in str(rejects[0])


def test_bare_answers_have_their_one_sentence() -> None:
    closed = {"task": "vqa-closed", "prompt": "Is there a nodule?", "reference": "No."}
    keep = extras(first("Yes.", closed, sentence_labels=True)).keep
    assert keep is not None
    assert (keep.chosen, keep.rejected) == ([(0, 3)], [(0, 4)])


def test_malformed_extras_are_refused() -> None:
    pairs, rejects = edited(WRONG, {"ext": {"align": 3}}, sentence_labels=True)
    assert pairs == []
    assert {error.reason for error in rejects} == {"extras-malformed"}


@pytest.mark.parametrize(
    ("answer", "weight"),
    [
        (WRONG, 0.5),  # effusion: the usual weight
        (TRUTH.replace("large left", "large right"), 1.0),  # pneumothorax
        (TRUTH.replace("large left", "small left"), 0.8),  # there, but of another size
        (WRONG.replace("large left", "large right"), 1.0),  # the graver of both
    ],
)
def test_clinical_weights(answer: str, weight: float) -> None:
    pair = first(answer, weights="clinical")
    assert pair.weights is not None
    assert (pair.weights.example, pair.weights.flip) == (weight, None)


def test_a_lexicon_of_ones_own_has_its_urgencies(tmp_path: Path) -> None:
    (tmp_path / "own.toml").write_text('name = "own"\nversion = "1"\n[urgency]\npleural_effusion = 0.9\n')
    pair = first(WRONG, weights="clinical", lexicon=str(tmp_path / "own.toml"))
    assert pair.weights is not None
    assert pair.weights.example == 0.9


def test_doubt_smooths() -> None:
    sure = first(WRONG, weights="all").weights
    assert sure is not None
    assert (sure.example, sure.flip) == (0.5, 0.05)
    made_up = first(f"{TRUTH} There is a rib fracture.", weights="confidence").weights
    assert made_up is not None
    assert (made_up.example, made_up.flip) == (None, 0.15)


def test_words_weigh_by_what_was_edited_and_what_states_facts() -> None:
    pair = first(WRONG, weights="tokens")
    words = extras(pair).word_weights
    assert words is not None
    assert words.rest == 0.7
    for text, stretches, side in ((pair.chosen, words.chosen, "left"), (pair.rejected, words.rejected, "right")):
        said = [(text[start:end], weight) for start, end, weight in stretches]
        assert [word for word, weight in said if weight == 1.3] == [side]
        assert ("pleural effusion", 1.0) in said


def test_degrees() -> None:
    found = extras(first(WRONG, degrees=True)).degree
    # three statements: 2 right, 1 wrong, 1 missed: F1 4/6, a third lost
    assert found is not None
    assert (found.chosen, found.rejected) == (0, 2)


@pytest.mark.parametrize("config", [{"weights": "clinical"}, {"sentence_labels": True}, {"degrees": True}])
def test_labels_are_for_pairs(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="only for pairs"):
        EditConfig(emit="ranking", **config)
    with pytest.raises(ValueError, match="apply-review"):
        EditConfig(apply_review="x.csv", **config)


def ranked(
    *answers: str, root: Path | str = ".", box_unit: Any = "pixels", **more: Any
) -> tuple[list[float], list[tuple[str, str | None]]]:
    rejects: list[tuple[str, str | None]] = []
    context = Context(root, reject=lambda _id, error: rejects.append((error.reason, error.path)))
    config = EditConfig(emit="ranking", reward="box-iou", box_unit=box_unit)
    made = [one for one in run([sample(*answers, **more)], config, context) if isinstance(one, Ranking)]
    assert all(record.reference == more.get("reference", TRUTH) for record in made)
    return [one.reward for record in made for one in record.responses], rejects


ANSWERS = ("It is at [0, 0, 2, 2].", "[1, 0, 3, 2]", "I see nothing.")
REWARDS = [1.0, pytest.approx(1 / 3), 0.0]


def test_boxes_are_ranked_by_overlap_with_the_reference_or_the_region() -> None:
    assert ranked(*ANSWERS, reference="[0, 0, 2, 2]") == (REWARDS, [])
    region = Region(label="nodule", box=(0, 0, 2, 2))
    assert ranked(*ANSWERS, reference="A nodule.", regions=[region]) == (REWARDS, [])
    assert ranked(*ANSWERS, reference=None, regions=[region]) == (REWARDS, [])


def test_regions_of_the_finding_that_is_asked_for() -> None:
    regions = [Region(label="mass", box=(5, 5, 9, 9)), Region(label="pleural_effusion", box=(0, 0, 2, 2))]
    assert ranked(*ANSWERS, regions=regions, prompt="Where is the pleural effusion?") == (REWARDS, [])
    # one of two is found: half
    rewards, _ = ranked(*ANSWERS, regions=regions, prompt="Where is it?")
    assert rewards == [0.5, pytest.approx(1 / 6), 0.0]


def picture(root: Path, name: str = "x.png", mask: bool = False) -> None:
    """100 x 50 pixels; as a mask, the upper left quarter."""
    array = np.zeros((50, 100), np.uint8)
    array[:25, :50] = 255 if mask else 100
    Image.fromarray(array).save(root / name)


def test_units_are_compared_on_the_picture(tmp_path: Path) -> None:
    picture(tmp_path)
    region = Region(label="nodule", box=(0, 0, 50, 25))
    answers = ("<box>(0,0),(500,500)</box>", "[0.0, 0.0, 0.5, 1.0]", "[0, 0, 50, 25] here", "[0, 0, 500, 500]")
    expected = [1.0, pytest.approx(0.5), 1.0, pytest.approx(0.005)]
    assert ranked(*answers, regions=[region], root=tmp_path) == (expected, [])
    # A model that writes thousandths without a tag
    rewards, _ = ranked(*answers, regions=[region], root=tmp_path, box_unit="thousandths")
    assert rewards == [1.0, pytest.approx(0.5), pytest.approx(0.005), 1.0]


def test_of_a_mask_its_bounding_box(tmp_path: Path) -> None:
    picture(tmp_path)
    picture(tmp_path, "m.png", mask=True)
    region = Region(label="nodule", mask=MaskRef(path="m.png"))
    assert ranked("[0, 0, 50, 25]", "[0, 0, 100, 25]", regions=[region], root=tmp_path) == ([1.0, 0.5], [])


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"reference": "A nodule."}, ("no-boxes", "$.regions")),
        ({"reference": None}, ("no-boxes", "$.regions")),
        ({"regions": [Region(label="a", mask=MaskRef(path="gone.png"))]}, ("file-not-found", "$.regions[0].mask.path")),
        ({"regions": [Region(label="a", mask=MaskRef(path="../m.png"))]}, ("path-escape", "$.regions[0].mask.path")),
        ({"image": ImageRef(path="gone.png"), "reference": "<box>1 2 3 4</box>"}, ("file-not-found", "$.image.path")),
        ({"reference": "[7, 7, 9, 9]"}, ("no-signal", "$.responses")),
    ],
)
def test_no_box_to_rank_by(more: dict[str, Any], reason: tuple[str, str], tmp_path: Path) -> None:
    picture(tmp_path)
    assert ranked("[0, 0, 2, 2]", "x", root=tmp_path, **more) == ([], [reason])
