"""From samples to what ``align`` accepts: each recipe's own ``edit`` makes all that its method reads of a text."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from data.training_pairs import corrupted, encode, tiny

from medpo_cli.cli.settings import resolve
from medpo_cli.errors import RecordError
from medpo_cli.io.context import Context
from medpo_cli.schema.config import AlignConfig, EditConfig
from medpo_cli.schema.objectives import Term
from medpo_cli.schema.records import Case, ImageRef, Pair, Policy, Ranking, Response, Sample
from medpo_cli.stages.edit import run
from medpo_cli.training.needs import check_fields
from medpo_cli.training.objectives import methods
from medpo_cli.training.objectives.table import METHODS

RECIPES = sorted((Path(__file__).parents[3] / "recipes").glob("*.toml"))
QUESTION = "Describe the findings on this chest image."
TRUTH = "The heart is normal in size. There is a small left pleural effusion. No pneumothorax."
ANSWERS = (TRUTH.replace("left", "right"), TRUTH)


def settings(recipe: Path) -> tuple[EditConfig, AlignConfig, tuple[Term, ...]]:
    edit = resolve("edit", EditConfig, {}, str(recipe)).stage
    align = resolve("align", AlignConfig, {"model": "m"}, str(recipe)).stage
    given = {"beta": align.beta, "gamma": align.gamma, "nll": align.nll, "papo": align.papo}
    return edit, align, tuple(methods.resolve(align.method, composed=align.terms, **given))


def edited(config: EditConfig) -> list[Any]:
    sample = Sample(
        id="s", image=ImageRef(path="a.png"), prompt=QUESTION, task="report", reference=TRUTH,
        policy=Policy(model="m", digest="0" * 64),
        responses=[Response(text=text, logprob=-40.0, tokens=20) for text in ANSWERS],
    )  # fmt: skip
    return list(run([sample], config, Context()))


def with_images(record: Any, method: str) -> Case:
    """What ``corrupt`` adds to a pair, and for SymMPO the twin that only a user's data has."""
    if isinstance(record, Ranking):
        return record
    more: dict[str, Any] = {"lpoi": {"ladder": [{"path": "b.png"}, {"path": "c.png"}]}}.get(method, {})
    if method == "sympo":
        more = {"twin": {"image": {"path": "c.png"}, "answer": "No pleural effusion."}}
    ext = record.ext or {}
    align = {**ext.get("align", {}), **more}
    return msgspec.structs.replace(record, corrupted=corrupted("b.png"), ext={**ext, "align": align})


def test_every_method_has_a_recipe() -> None:
    assert {settings(recipe)[1].method for recipe in RECIPES} == set(METHODS)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_what_edit_makes_is_what_the_method_reads(recipe: Path) -> None:
    config, align, terms = settings(recipe)
    made = [with_images(record, align.method) for record in edited(config)]
    assert made
    checked = [check_fields(record, terms, align.method) for record in made]
    assert all(isinstance(record, Ranking) for record in checked) == (config.emit == "ranking")
    _, examples = encode(tiny("llava"), terms, checked)  # type: ignore[arg-type]
    assert all(answer.needed for example in examples for unit in example.units for answer in unit.answers)


@pytest.mark.parametrize(
    ("method", "path", "flag"),
    [
        ("mmedpo", "$.weights.example", "--weights clinical"),
        ("rosepo", "$.weights.flip", "--weights confidence"),
        ("tis-dpo", "$.ext.align.token_weights", "--weights tokens"),
        ("spo", "$.ext.align.degree", "--degrees"),
    ],
)
def test_without_its_flag_the_error_names_it(method: str, path: str, flag: str) -> None:
    pair = with_images(edited(EditConfig())[0], method)
    with pytest.raises(RecordError, match=flag) as caught:
        check_fields(pair, tuple(methods.resolve(method)), method)
    assert (caught.value.reason, caught.value.path) == ("field-missing", path)


def answers(method: str, **config: Any) -> dict[str, Any]:
    """The first pair's sequences as ``align`` prepares them, with their words."""
    terms = tuple(methods.resolve(method))
    pair = edited(EditConfig(**config))[0]
    assert isinstance(pair, Pair)
    vlm = tiny("llava")
    _, (example,) = encode(vlm, terms, [pair])
    found = example.units[0].answers
    return {answer.name: (answer, [vlm.decode([token]).strip() for token in answer.ids]) for answer in found}


def test_sentence_labels_choose_the_tokens() -> None:
    found = answers("mask-dpo-sentence", sentence_labels=True)
    read = {name: "".join(words[t] for t in answer.needed) for name, (answer, words) in found.items()}
    assert read["+"] == TRUTH.replace(" ", "")
    assert read["-"] == "Thereisasmallrightpleuraleffusion."


def test_word_weights_become_weights_of_tokens() -> None:
    for name, word in (("+", "left"), ("-", "right")):
        answer, words = answers("tis-dpo", weights="tokens")[name]
        assert len(answer.weights) == len(answer.needed) == len(words)
        assert answer.weights[-1] == 0.0  # the end token
        heavy = "".join(words[t] for t, weight in enumerate(answer.weights) if weight == 1.3)
        assert heavy == word
        light = "".join(words[t] for t, weight in enumerate(answer.weights) if weight == 0.7)
        assert light.startswith("The")
        assert "effusion" not in light


def test_a_weight_and_a_flip_reach_the_loss() -> None:
    made = edited(EditConfig(weights="all", degrees=True))[0]
    _, (example,) = encode(tiny("llava"), tuple(methods.resolve("rosepo")), [made])
    assert example.units[0].weight == 0.5  # pleural effusion: the usual urgency
    assert example.units[0].answers[0].facts["flip"] == 0.05
    _, (example,) = encode(tiny("llava"), tuple(methods.resolve("spo")), [made])
    assert {answer.name: answer.facts["degree"] for answer in example.units[0].answers} == {"+": 0, "-": 2}
