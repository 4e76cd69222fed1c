"""Sentence labels, weights and token weights that ``edit`` adds, and that ``align`` reads them."""

from pathlib import Path
from typing import Any

import pytest

from medpo_cli.demo import MODEL
from medpo_cli.errors import ConfigError
from medpo_cli.io.context import Context
from medpo_cli.models.tokenizer import load_tokenizer
from medpo_cli.schema.config import EditConfig
from medpo_cli.schema.extras import extras
from medpo_cli.schema.records import ImageRef, Pair, Policy, Ranking, Region, Response, Sample
from medpo_cli.stages.edit import run

TRUTH = "The heart is normal in size. There is a small left pleural effusion. There is a large left pneumothorax."
WRONG = "The heart is normal in size. There is a small right pleural effusion. There is a large left pneumothorax."


def sample(*answers: str, reference: str = TRUTH, **more: Any) -> Sample:
    return Sample(
        id="s", image=ImageRef(path="x.png"), prompt="Describe.", reference=reference, task="report",
        policy=Policy(model="m", digest="0" * 64), responses=[Response(text=answer) for answer in answers], **more,
    )  # fmt: skip


def first(answer: str, ext: dict[str, Any] | None = None, **config: Any) -> Pair:
    made = next(iter(run([sample(answer, ext=ext)], EditConfig(**config), Context())))
    assert isinstance(made, Pair)
    return made


def test_sentences_that_the_reference_confirms_and_contradicts() -> None:
    pair = first(WRONG, ext={"own": 1}, sentence_labels=True)
    keep = extras(pair).keep
    assert keep is not None
    assert [pair.chosen[slice(*place)] for place in keep.chosen] == TRUTH.replace(". ", ".|").split("|")
    assert [pair.rejected[slice(*place)] for place in keep.rejected] == ["There is a small right pleural effusion."]
    assert (pair.ext or {})["own"] == 1


def test_without_a_sentence_on_a_side_the_spans_count() -> None:
    # the effusion that was left out is no sentence of the rejected answer
    pair = first("The heart is normal in size. There is a large left pneumothorax.", sentence_labels=True)
    assert pair.ext is None


@pytest.mark.parametrize(
    ("answer", "weight"),
    [
        (WRONG, 0.5),  # effusion: the usual weight
        (TRUTH.replace("large left", "large right"), 1.0),  # pneumothorax
        (WRONG.replace("large left", "large right"), 0.75),  # their mean
    ],
)
def test_clinical_weights(answer: str, weight: float) -> None:
    pair = first(answer, weights="clinical")
    assert pair.weights is not None
    assert (pair.weights.example, pair.weights.flip) == (weight, None)


def test_doubt_smooths() -> None:
    sure = first(WRONG, weights="all").weights
    assert sure is not None
    assert (sure.example, sure.flip) == (0.5, 0.0)
    listed = first("No pleural effusion or pneumothorax. The heart is normal in size.", weights="confidence").weights
    assert listed is not None
    assert (listed.example, listed.flip) == (None, 0.1)


def test_token_weights_fit_the_tokens_of_that_model() -> None:
    pair = first(WRONG, tokenizer=str(MODEL), token_weight=1.5)
    sides = extras(pair).token_weights
    assert sides is not None
    tokenize = load_tokenizer(MODEL)
    for text, spans, weights in (
        (pair.chosen, [span.chosen for span in pair.spans], sides.chosen),
        (pair.rejected, [span.rejected for span in pair.spans], sides.rejected),
    ):
        ids, offsets = tokenize(text)
        assert weights is not None
        assert len(weights) == len(ids)
        edited = [text[slice(*place)].strip() for place, weight in zip(offsets, weights, strict=True) if weight == 1.5]
        assert "".join(edited) == "".join(text[slice(*span)] for span in spans)


def test_token_weights_need_a_tokenizer() -> None:
    with pytest.raises(ConfigError, match="--tokenizer"):
        first(WRONG, token_weight=1.5)


@pytest.mark.parametrize("config", [{"weights": "clinical"}, {"sentence_labels": True}, {"token_weight": 2.0}])
def test_labels_are_for_pairs(config: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="only for pairs"):
        EditConfig(emit="ranking", **config)


def _ranked(*answers: str, reference: str = "", **more: Any) -> tuple[list[float], list[str]]:
    rejects: list[str] = []
    context = Context(reject=lambda _id, error: rejects.append(error.reason))
    config = EditConfig(emit="ranking", reward="box-iou")
    made = list(run([sample(*answers, reference=reference, **more)], config, context))
    rewards = [one.reward for record in made if isinstance(record, Ranking) for one in record.responses]
    return rewards, rejects


def test_boxes_are_ranked_by_overlap_with_the_reference_or_the_region() -> None:
    answers = ("It is at [0, 0, 2, 2].", "[1, 0, 3, 2]", "I see nothing.")
    expected = [1.0, pytest.approx(1 / 3), 0.0]
    assert _ranked(*answers, reference="[0, 0, 2, 2]") == (expected, [])
    region = Region(label="nodule", box=[0, 0, 2, 2])
    assert _ranked(*answers, reference="A nodule.", regions=[region]) == (expected, [])


def test_no_box_to_rank_by() -> None:
    assert _ranked("[0, 0, 2, 2]", "x", reference="A nodule.") == ([], ["no-boxes"])


def test_every_recipe_that_asks_for_labels_gets_them() -> None:
    import tomllib

    asked = {}
    for path in (Path(__file__).parents[3] / "recipes").glob("*.toml"):
        table = tomllib.loads(path.read_text())
        if found := {
            key: value for key, value in table.get("edit", {}).items() if key in ("weights", "sentence_labels")
        }:
            asked[path.stem] = found
    assert asked == {
        "mmedpo": {"weights": "clinical"},
        "rosepo": {"weights": "confidence"},
        "mask-dpo-sentence": {"sentence_labels": True},
    }
