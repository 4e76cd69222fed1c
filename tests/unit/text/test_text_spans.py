"""Spans to token masks, by hand and with three families of tokenizers trained here."""

from collections.abc import Callable

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from medpo_cli.errors import RecordError
from medpo_cli.io.context import Context
from medpo_cli.schema.config import EditConfig
from medpo_cli.schema.records import ImageRef, Policy, Response, Sample
from medpo_cli.stages.edit import run
from medpo_cli.text.spans import outside, stretch_weights, token_mask

CORPUS = [
    "The heart is enlarged. There is a small nodule in the left upper zone.",
    "The heart is normal in size. No nodule is seen. No focal opacity is seen.",
    "There is a patchy opacity in the right lower zone. No pleural effusion. No pneumothorax.",
    "Yes, there is a large right pneumothorax. No, there is no pleural effusion.",
]


def byte_level() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet))
    return tokenizer


def word_piece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=90, special_tokens=["[UNK]"]))
    return tokenizer


def unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=120, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


FAMILIES: dict[str, Callable[[], Tokenizer]] = {
    "byte-level BPE": byte_level,
    "WordPiece": word_piece,
    "Unigram with metaspace": unigram,
}


@pytest.fixture(scope="module", params=FAMILIES)
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    return FAMILIES[request.param]()


def test_a_leading_space_in_the_token_does_no_harm() -> None:
    """ "a left lung" as a| left| lung: the span is "left" = [2, 6), the token [1, 6)."""
    assert token_mask([(0, 1), (1, 6), (6, 11)], [(2, 6)], "a left lung") == [False, True, False]


def test_a_span_that_ends_with_a_space_does_not_take_the_next_token() -> None:
    """Span [0, 2) is "a "; token " left" = [1, 6) shares only the space."""
    assert token_mask([(0, 1), (1, 6)], [(0, 2)], "a left") == [True, False]


def test_a_token_of_space_alone_goes_with_the_word_behind_it() -> None:
    """ "a| |left| |lung", span "left": its space too, the one behind it not."""
    offsets = [(0, 1), (1, 2), (2, 6), (6, 7), (7, 11)]
    assert token_mask(offsets, [(2, 6)], "a left lung") == [False, True, True, False, False]
    assert token_mask(offsets, [(2, 11)], "a left lung") == [False, True, True, True, True]


def test_several_tokens_of_one_character_are_all_masked() -> None:
    """One symbol of four bytes in three byte-level tokens, all with the offsets (2, 3)."""
    text = "a \U0001fa7b x"
    assert token_mask([(0, 1), (2, 3), (2, 3), (2, 3), (3, 5)], [(2, 3)], text) == [False, True, True, True, False]


@pytest.mark.parametrize(
    ("offsets", "stretches", "expected"),
    [
        ([(0, 1), (1, 6), (6, 11)], [(2, 6, 1.3)], [0.7, 1.3, 0.7]),
        ([(0, 1), (1, 6), (6, 11)], [(0, 2, 1.3)], [1.3, 0.7, 0.7]),  # shares a space only
        ([(0, 1), (1, 6), (6, 11)], [(2, 11, 1.0), (7, 11, 1.3)], [0.7, 1.0, 1.3]),  # the heaviest
        ([(0, 1), (1, 4), (4, 11)], [(2, 6, 1.3)], [0.7, 1.3, 1.3]),  # two tokens, the second reaches out
        ([(0, 1), (1, 2), (2, 6), (6, 7), (7, 11)], [(2, 6, 0.0)], [0.7, 0.0, 0.0, 0.7, 0.7]),  # space with its word
        ([(0, 6), (6, 11)], [], [0.7, 0.7]),
        ([], [(0, 1, 1.3)], []),
    ],
)
def test_weights_of_stretches(
    offsets: list[tuple[int, int]], stretches: list[tuple[int, int, float]], expected: list[float]
) -> None:
    assert stretch_weights(offsets, stretches, 0.7, "a left lung") == expected


def test_the_end_token_is_never_masked() -> None:
    assert token_mask([(0, 4), (4, 4)], [(0, 4)], "left") == [True, False]


def test_a_straddling_token_is_masked_and_too_much_outside_is_refused() -> None:
    """Token "enlarged" [0, 8), span "en" [0, 2): 6 of 8 outside > half. Span [0, 4): 4 of 8, allowed."""
    assert token_mask([(0, 8)], [(0, 4)], "enlarged") == [True]
    with pytest.raises(RecordError) as caught:
        token_mask([(0, 8)], [(0, 2)], "enlarged")
    assert caught.value.reason == "straddle"


@pytest.mark.parametrize(
    ("offsets", "spans", "reason"),
    [
        ([(0, 2)], [(3, 5)], "no-tokens"),
        ([(0, 5)], [(2, 2)], "empty-span"),
        ([(0, 5)], [(2, 3)], "empty-span"),
        ([(0, 5)], [(0, 9)], "bad-span"),
    ],
)
def test_spans_without_a_token_or_a_character_are_refused(
    offsets: list[tuple[int, int]], spans: list[tuple[int, int]], reason: str
) -> None:
    with pytest.raises(RecordError) as caught:
        token_mask(offsets, spans, "ab cd"[:5])
    assert caught.value.reason == reason


def pairs() -> list[tuple[str, str, list[tuple[int, int]], list[tuple[int, int]]]]:
    """Corrected and counterfactual pairs of reports and answers, with symbols around."""
    truth = (
        "The heart is enlarged. There is a small nodule in the left upper zone. No focal opacity is seen. "
        "There is a large left pleural effusion. No pneumothorax."
    )
    said = (
        "The heart is normal in size. No nodule is seen. There is a patchy opacity in the right lower zone. "
        "There is a small right pleural effusion. No pneumothorax."
    )
    answers = [truth, said, f"\U0001fa7b Größe 3°: {said}", f"胸部 {truth}"]
    sample = Sample(
        id="s", image=ImageRef(path="x.png"), prompt="Describe.", reference=truth, task="report",
        policy=Policy(model="m", digest="0" * 64), responses=[Response(text=text) for text in answers],
    )  # fmt: skip
    found = run([sample], EditConfig(per_sample=9), Context())
    return [(p.chosen, p.rejected, [s.chosen for s in p.spans], [s.rejected for s in p.spans]) for p in found]


def test_token_ids_outside_the_spans_are_equal_on_both_sides(tokenizer: Tokenizer) -> None:
    made = pairs()
    assert len(made) >= 12
    for chosen, rejected, ours, theirs in made:
        sides = []
        for text, spans in ((chosen, ours), (rejected, theirs)):
            encoding = tokenizer.encode(text, add_special_tokens=False)
            sides.append(outside(encoding.ids, token_mask(encoding.offsets, spans, text)))
        assert sides[0] == sides[1]
