"""Spans to tokens with five families of tokenizers: whatever the text, outside of the spans nothing differs."""

from collections.abc import Callable
from functools import lru_cache

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from medpo_cli.errors import RecordError
from medpo_cli.schema.records import Span
from medpo_cli.text.spans import Tokenize, check_tokens, outside, token_mask

CORPUS = [
    "The heart is enlarged. There is a small nodule in the left upper zone, 10.25 cm. 胸部 左 右",
    "The heart is normal in size. No nodule is seen. No focal opacity is seen. Größe 3°, Ménière",
    "There is a patchy opacity in the right lower zone. No pleural effusion. No pneumothorax.",
    "Yes, there is a large right pneumothorax. No, there is no pleural effusion.\n- one\r\n- two",
] * 3


def byte_level() -> Tokenizer:
    """GPT-2, Qwen: leading spaces in tokens, four bytes of a symbol in several."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=400, initial_alphabet=alphabet))
    return tokenizer


def qwen_like() -> Tokenizer:
    """Digits one by one, runs of spaces apart, line breaks with the marks before them."""
    tokenizer = byte_level()
    cut = r"(?i:'s|'t)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(cut), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return tokenizer


def metaspace() -> pre_tokenizers.PreTokenizer:
    """Spaces as marks; punctuation and digits apart, as SentencePiece is trained for language models."""
    parts = [pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation(), pre_tokenizers.Digits(individual_digits=True)]
    return pre_tokenizers.Sequence(parts)


def llama_like() -> Tokenizer:
    """BPE with metaspace and bytes for what the vocabulary lacks."""
    special = ["<unk>", *(f"<0x{byte:02X}>" for byte in range(256))]
    tokenizer = Tokenizer(models.BPE(byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    tokenizer.pre_tokenizer = metaspace()
    tokenizer.train_from_iterator(CORPUS, trainers.BpeTrainer(vocab_size=500, special_tokens=special))
    return tokenizer


def word_piece() -> Tokenizer:
    """BERT: lower case, accents stripped, unknown words as one token."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=120, special_tokens=["[UNK]"]))
    return tokenizer


def unigram() -> Tokenizer:
    """SentencePiece's unigram model with metaspace."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=160, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False)
    tokenizer.train_from_iterator(CORPUS, trainer)
    return tokenizer


FAMILIES: dict[str, Callable[[], Tokenizer]] = {
    "byte-level BPE": byte_level,
    "Qwen-like": qwen_like,
    "Llama-like": llama_like,
    "WordPiece": word_piece,
    "Unigram": unigram,
}


@lru_cache
def trained(name: str) -> Tokenize:
    tokenizer = FAMILIES[name]()

    def tokenize(text: str) -> tuple[list[int], list[tuple[int, int]]]:
        encoding = tokenizer.encode(text, add_special_tokens=False)
        # The end of turn, as every answer has it: equal on both sides, in no span.
        return [*encoding.ids, -1], [*encoding.offsets, (len(text), len(text))]

    return tokenize


WORDS = [
    "left", "right", "No", "nodule", "2.5", "10", "cm", "pneumothorax", "Größe", "胸部", "心臓", "e\u0301", "القلب",
    "non-enlarged", "µm", "x²",
]  # fmt: skip
SYMBOLS = [*WORDS, "°", "\U0001fac1", "\U0001f469\u200d\u2695\ufe0f", "x\u0323\u0302", "±3", "(left)", "10%"]
words, symbols = st.sampled_from(WORDS), st.sampled_from(SYMBOLS)
spaces = [" ", " ", "  ", "\n", "\n\n", "\r\n"]
gaps = st.sampled_from([*spaces, " ", "\n- ", ", ", ". ", " ("])
anything = st.characters(codec="utf-8", exclude_categories=("Cs", "Cc"))
letters = st.text(st.one_of(anything, st.sampled_from(" abc左9\u0301\U0001fac1")), min_size=1, max_size=12)


@st.composite
def edits(draw: st.DrawFn, stretch: st.SearchStrategy[str], gap: st.SearchStrategy[str]) -> tuple[str, str, list[Span]]:
    """Two texts that differ in one to three stretches, with the spans of these."""
    count = draw(st.integers(2, 8))
    changed = draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=3))
    chosen, rejected, spans = "", "", []
    for number in range(count):
        if number:
            between = draw(gap)
            chosen, rejected = chosen + between, rejected + between
        first = draw(stretch)
        second = draw(stretch) if number in changed else first
        if number in changed:
            places = (len(chosen), len(chosen) + len(first)), (len(rejected), len(rejected) + len(second))
            spans.append(Span(kind="other", chosen=places[0], rejected=places[1], source="t"))
        chosen, rejected = chosen + first, rejected + second
    return chosen, rejected, spans


def refusal(made: tuple[str, str, list[Span]], family: str) -> str | None:
    try:
        check_tokens(*made, trained(family))
    except RecordError as error:
        return error.reason
    return None


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=150, deadline=None)
@given(made=edits(words, gaps))
def test_edits_of_whole_words_hold_in_every_family(family: str, made: tuple[str, str, list[Span]]) -> None:
    assert refusal(made, family) is None


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=150, deadline=None)
@given(made=edits(symbols, st.sampled_from(spaces)))
def test_edits_of_symbols_between_spaces_hold_in_every_family(family: str, made: tuple[str, str, list[Span]]) -> None:
    """Beside punctuation they may not: Qwen's rule joins "°," to one piece, and the pair is refused."""
    assert refusal(made, family) is None


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=200, deadline=None)
@given(made=edits(letters, st.sampled_from(["", " ", "x"])))
@example(made=("胸部左", "胸部右", [Span(kind="side", chosen=(2, 3), rejected=(2, 3), source="t")]))
@example(made=("unenlarged", "enlargedly", [Span(kind="side", chosen=(0, 2), rejected=(0, 8), source="t")]))
def test_what_is_accepted_differs_in_the_spans_alone_whatever_they_cut(
    family: str, made: tuple[str, str, list[Span]]
) -> None:
    """Spans anywhere, also within words and symbols: refused with a code, or right."""
    chosen, rejected, spans = made
    reason = refusal(made, family)
    if reason is not None:
        assert reason in {"straddle", "no-tokens", "outside-ids", "empty-span"}
        return
    kept = []
    for side, text in (("chosen", chosen), ("rejected", rejected)):
        ids, offsets = trained(family)(text)
        places = [getattr(span, side) for span in spans]
        mask = token_mask(offsets, places, text)
        assert not mask[-1]
        for start, end in places:
            assert any(kept_one and a < end and start < b for kept_one, (a, b) in zip(mask, offsets, strict=True))
        inside = {index for start, end in places for index in range(start, end)}
        for masked, (a, b) in zip(mask, offsets, strict=True):
            solid = [index for index in range(a, b) if not text[index].isspace()]
            if solid:
                assert masked == bool(inside.intersection(solid))
                assert not masked or 2 * len(inside.intersection(solid)) >= len(solid)
        kept.append(outside(ids, mask))
    assert kept[0] == kept[1]


def test_the_families_cut_the_same_text_in_five_ways() -> None:
    """Else one family would be tested five times."""
    text = "A small  nodule of 10.25 cm, 胸部 \U0001fac1 Ménière."
    assert len({tuple(trained(family)(text)[1]) for family in FAMILIES}) == len(FAMILIES)
