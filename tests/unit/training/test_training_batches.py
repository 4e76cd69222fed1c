"""Pairs to token sequences: what is needed, what is refused, how it is laid out."""

import msgspec
import numpy as np
import pytest
import torch
from data.training_pairs import PAIRS, REPORT, YES, encode, engine, make_pair, picture, tiny

from medpo_cli.errors import RecordError
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.schema.objectives import Term
from medpo_cli.schema.records import ImageRef, Span, Weights
from medpo_cli.training.batches import Example
from medpo_cli.training.encoder import Encoder
from medpo_cli.training.layout import bundles, collate, plan
from medpo_cli.training.needs import check_fields
from medpo_cli.training.objectives.methods import resolve


@pytest.fixture(scope="module")
def vlm() -> VisionLanguageModel:
    return tiny("llava")


def example(vlm: VisionLanguageModel, terms: tuple[Term, ...], number: int = 0) -> Example:
    return Encoder(vlm, terms, picture).example(PAIRS[number], number)


def test_each_method_prepares_only_what_it_reads(vlm: VisionLanguageModel) -> None:
    def names(method: str, **settings: float) -> list[list[str]]:
        units = example(vlm, resolve(method, **settings)).units  # type: ignore[arg-type]
        return [[answer.name for answer in unit.answers] for unit in units]

    assert names("fire-mpo") == [["+", "-"], ["'-", "'+"]]
    assert names("fire-mpo", gamma=0.0) == [["+", "-"]]
    assert names("dpo") == [["+", "-"]]
    assert names("sft") == [["+"]]


def test_needed_tokens_are_the_span_or_the_answer(vlm: VisionLanguageModel) -> None:
    span = example(vlm, resolve("mask-dpo")).units[0].answers[0]
    assert [vlm.decode([span.ids[t]]) for t in span.needed] == [" left"]
    assert span.span == [True]
    assert len(span.ids) == span.needed[0] + 1  # cut after the token that is only predicted
    whole = example(vlm, resolve("dpo")).units[0].answers[0]
    assert vlm.decode(whole.ids) == YES
    assert whole.ids[-1] == vlm.end_id
    assert whole.needed == list(range(len(whole.ids)))


def test_kept_rows_predict_the_next_token(vlm: VisionLanguageModel) -> None:
    one = example(vlm, resolve("fire-mpo", gamma=0.0))
    layout = collate(bundles(one.units, forest=True), forest=True, device=torch.device("cpu"), family=vlm.family)
    kept = layout.input_ids[layout.keep]
    for name, word in (("+", " left"), ("-", " right")):
        index = layout.index[name]
        rows, tokens = layout.pairs[:, index.pair[0]]
        assert [vlm.decode([token]) for token in tokens] == [word]
        assert [vlm.decode([kept[row]]) for row in rows] == [" small"]  # the word before the span
    assert layout.keep.sum() == 1  # one row predicts both words
    assert layout.attention_mask.shape == (1, 1, layout.tokens, layout.tokens)


def test_questions_about_one_image_share_its_row(vlm: VisionLanguageModel) -> None:
    _, examples = encode(vlm, resolve("mask-dpo"), [PAIRS[0], PAIRS[1], PAIRS[2]])
    units = [unit for one in examples for unit in one.units]
    work = bundles(units, forest=True)
    assert [[unit.number for unit in bundle.units] for bundle in work] == [[0, 1], [2]]
    layout = collate(work, forest=True, device=torch.device("cpu"), family=vlm.family)
    images = int((layout.input_ids == vlm.image_token_id).sum())
    assert images == 2 * 17  # two images, not three: template and image come before the question
    assert [prompt.images[0].path for prompt in layout.prompts] == ["a.png", "c.png"]


def test_several_images_in_one_prompt(vlm: VisionLanguageModel) -> None:
    two = [ImageRef(path="a.png"), ImageRef(path="b.png")]
    pairs = [msgspec.structs.replace(pair, image=two, corrupted=None) for pair in PAIRS[:2]]
    terms = resolve("dpo")
    encoder, examples = encode(vlm, terms, pairs)
    shared, plain = (engine(vlm, terms, encoder, forest=f).accumulate(examples, 1.0) for f in (True, False))
    assert shared.sums["chosen"].item() == pytest.approx(plain.sums["chosen"].item(), abs=1e-5)


def test_plan_respects_the_budget_and_keeps_every_bundle(vlm: VisionLanguageModel) -> None:
    _, examples = encode(vlm, resolve("fire-mpo", nll=1.0), PAIRS)
    work = bundles([unit for one in examples for unit in one.units], forest=True)
    for budget in (1, 100, 150, 10_000):
        groups = plan(work, budget)
        assert sorted(id(b) for group in groups for b in group) == sorted(id(b) for b in work)
        for group in groups:
            padded = max(bundle.width for bundle in group) * sum(len(bundle.rows) for bundle in group)
            assert len(group) == 1 or padded <= budget
    assert len(plan(work, 1)) == len(work)
    assert len(plan(work, 10_000)) == 1


def test_example_weights_scale_the_loss(vlm: VisionLanguageModel) -> None:
    weighted = msgspec.structs.replace(PAIRS[0], weights=Weights(example=0.25))
    terms = resolve("dpo")
    encoder, (one, other) = encode(vlm, terms, [PAIRS[0], weighted])
    run = engine(vlm, terms, encoder, forest=True)
    full, quarter = (run.accumulate([x], 1.0).sums for x in (one, other))
    assert quarter["loss"].item() == pytest.approx(0.25 * full["loss"].item(), abs=1e-7)
    assert quarter["rank"].item() == pytest.approx(full["rank"].item(), abs=1e-7)  # terms are unweighted


def test_equal_pixels_under_two_names_are_one_image(vlm: VisionLanguageModel) -> None:
    terms = resolve("dpo")
    encoder = Encoder(vlm, terms, lambda _ref, _field: np.zeros((32, 32, 3), np.uint8))
    examples = [encoder.example(pair, number) for number, pair in enumerate(PAIRS)]
    run = engine(vlm, terms, encoder, forest=True)
    run.accumulate(examples, 1.0)
    assert len(run.features._kept) == 1


def test_feature_cache_forgets_the_oldest(vlm: VisionLanguageModel) -> None:
    terms = resolve("dpo")
    encoder, examples = encode(vlm, terms, PAIRS)
    cache = engine(vlm, terms, encoder, forest=True).features
    prompts = [one.units[0].answers[0].prompt for one in examples]  # images a a c d f
    first = cache.get(prompts[:1])[0]
    cache.limit = 2 * cache.size
    cache.get(prompts)
    assert len(cache._kept) == 4  # what one pass needs is kept whatever the limit
    cache.get(prompts[-1:])
    assert len(cache._kept) == 2
    assert cache.size == cache.limit
    again = cache.get(prompts[:1])[0]
    torch.testing.assert_close(again.tokens[0], first.tokens[0], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("spans", "reason"),
    [
        ([(0, 0, 0, 0)], "no-tokens"),
        ([(3, 4, 3, 4)], "no-tokens"),  # white space only
        ([(13, 14, 14, 15)], "straddle"),  # the n of normal
    ],
)
def test_spans_without_a_token_are_refused(
    vlm: VisionLanguageModel, spans: list[tuple[int, int, int, int]], reason: str
) -> None:
    pair = make_pair("x", REPORT, "The heart is normal.", "The heart was normal.", image="a.png")
    listed = [Span(kind="other", chosen=(a, b), rejected=(c, d), source="rule") for a, b, c, d in spans]
    pair = msgspec.structs.replace(pair, spans=listed)
    with pytest.raises(RecordError) as caught:
        Encoder(vlm, resolve("mask-dpo"), picture).example(pair, 0)
    assert caught.value.reason == reason


def test_missing_fields_are_named() -> None:
    bare = msgspec.structs.replace(PAIRS[0], spans=[])
    with pytest.raises(RecordError, match="mask-dpo needs this field") as caught:
        check_fields(bare, resolve("mask-dpo"), "mask-dpo")
    assert caught.value.path == "$.spans"
    assert check_fields(bare, resolve("dpo"), "dpo") is bare
    same = msgspec.structs.replace(PAIRS[0], spans=[], rejected=PAIRS[0].chosen)
    with pytest.raises(RecordError, match="same text"):
        check_fields(same, resolve("dpo"), "dpo")
    assert check_fields(same, resolve("sft"), "sft") is same


@pytest.mark.parametrize("forest", [True, False], ids=["forest", "rows"])
def test_a_pure_insertion_alone_ranks_against_zero(vlm: VisionLanguageModel, forest: bool) -> None:
    terms = resolve("fire-mpo")
    insertion = next(pair for pair in PAIRS if pair.id == "insertion")
    encoder, examples = encode(vlm, terms, [insertion])
    sums = engine(vlm, terms, encoder, forest=forest).accumulate(examples, 1.0).sums
    assert sums["rejected"].item() == 0.0
    assert sums["chosen"].item() != 0.0
    beta_s = sums["chosen"].item()
    assert sums["rank"].item() == pytest.approx(np.log1p(np.exp(-beta_s)), abs=1e-6)


def test_what_shares_an_image_stays_together_as_far_as_there_is_room(vlm: VisionLanguageModel) -> None:
    pairs = [msgspec.structs.replace(PAIRS[0], id=str(i), prompt=f"{REPORT} {'Please. ' * i}") for i in range(4)]
    _, examples = encode(vlm, resolve("mask-dpo"), pairs)
    units = [unit for one in examples for unit in one.units]
    (whole,) = bundles(units, forest=True)
    alone = [bundle.tokens for unit in units for bundle in bundles([unit], forest=True)]
    assert whole.tokens < sum(alone)
    two = bundles(units, forest=True, room=whole.tokens - 1)
    assert [unit.number for bundle in two for unit in bundle.units] == [0, 1, 2, 3]
    assert 1 < len(two) < 4
    assert all(bundle.tokens < whole.tokens for bundle in two)
    assert [len(bundle.units) for bundle in bundles(units, forest=True, room=1)] == [1, 1, 1, 1]
