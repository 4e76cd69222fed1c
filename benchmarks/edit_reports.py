"""What verification refuses of real English reports, and whether accepted pairs hold on three tokenizer families.

Run: ``python benchmarks/edit_reports.py NLMCXR_reports.tgz`` (Open-i; torchxrayvision's wheel carries it under
``torchxrayvision/data``); prints one JSON object. Without the file it says so and does nothing.
"""

import json
import sys
import tarfile
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterator
from xml.etree import ElementTree

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers

from medpo_cli.errors import RecordError
from medpo_cli.io.context import Context
from medpo_cli.schema.config import EditConfig
from medpo_cli.schema.records import ImageRef, Pair, Policy, Response, Sample
from medpo_cli.stages.edit import run
from medpo_cli.text.language import is_covered
from medpo_cli.text.meta import is_refusal
from medpo_cli.text.spans import check_tokens
from medpo_cli.text.words import sentences

VOCABULARY = 4000


def parts(path: str) -> Iterator[tuple[str, str]]:
    """(heading, text) of each part of each report."""
    with tarfile.open(path) as archive:
        for member in archive:
            if member.name.endswith(".xml"):
                root = ElementTree.parse(archive.extractfile(member)).getroot()  # type: ignore[arg-type]
                for part in root.iter("AbstractText"):
                    if part.text:
                        yield part.get("Label", ""), unicodedata.normalize("NFC", part.text)


def families(texts: list[str]) -> dict[str, Tokenizer]:
    """Tokenizers trained on the reports."""
    byte_level = Tokenizer(models.BPE())
    byte_level.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    bpe = trainers.BpeTrainer(vocab_size=VOCABULARY, initial_alphabet=alphabet, show_progress=False)
    byte_level.train_from_iterator(texts, bpe)
    word_piece = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    word_piece.normalizer, word_piece.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    pieces = trainers.WordPieceTrainer(vocab_size=VOCABULARY, special_tokens=["[UNK]"], show_progress=False)
    word_piece.train_from_iterator(texts, pieces)
    unigram = Tokenizer(models.Unigram())
    unigram.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Metaspace(), pre_tokenizers.Punctuation()])
    units = trainers.UnigramTrainer(
        vocab_size=VOCABULARY, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False
    )
    unigram.train_from_iterator(texts, units)
    return {"byte-level BPE": byte_level, "WordPiece": word_piece, "Unigram": unigram}


def edited(answers: list[str], references: list[str], reasons: Counter[str]) -> list[Pair]:
    """Pairs of a run of ``edit``, up to three counterfactuals for each right answer."""
    policy = Policy(model="m", digest="0" * 64)
    samples = (
        Sample(
            id=f"r{number}", image=ImageRef(path="x.png"), prompt="Describe the findings.", reference=reference,
            task="report", policy=policy, responses=[Response(text=answer)],
        )
        for number, (answer, reference) in enumerate(zip(answers, references, strict=True))
    )  # fmt: skip
    context = Context(reject=lambda _name, error: reasons.update([error.reason]))
    return list(run(samples, EditConfig(per_sample=3), context))  # type: ignore[arg-type]


def refused(pairs: list[Pair], tokenizer: Tokenizer) -> dict[str, int]:
    """Pairs that do not hold on the tokenizer, by code."""

    def tokenize(text: str) -> tuple[list[int], list[tuple[int, int]]]:
        encoding = tokenizer.encode(text, add_special_tokens=False)
        return encoding.ids, encoding.offsets

    found: Counter[str] = Counter()
    for pair in pairs:
        try:
            check_tokens(pair.chosen, pair.rejected, pair.spans, tokenize)
        except RecordError as error:
            found[error.reason] += 1
    return dict(found)


def count(texts: list[str], is_bad: Callable[[str], bool]) -> dict[str, int]:
    """How many of the texts, and of their different sentences, are ``is_bad``."""
    single = {text[start:end] for text in texts for start, end in sentences(text)}
    return {
        "texts": len(texts), "refused": sum(map(is_bad, texts)),
        "sentences": len(single), "sentences_refused": sum(map(is_bad, single)),
    }  # fmt: skip


def main() -> None:
    """Measure and print."""
    if len(sys.argv) < 2:
        print("edit_reports: no NLMCXR_reports.tgz given, nothing measured", file=sys.stderr)
        return
    found = list(parts(sys.argv[1]))
    texts = [text for _, text in found]
    reports = [text for heading, text in found if heading == "FINDINGS" and "XXXX" not in text]
    reasons: dict[str, Counter[str]] = {"right": Counter(), "other": Counter()}
    begun = time.perf_counter()
    pairs = edited(reports, reports, reasons["right"])
    pairs += edited(reports[:-1], reports[1:], reasons["other"])
    seconds = time.perf_counter() - begun
    result = {
        "language": count(texts, lambda text: not is_covered(text)),
        "refusal": count(texts, is_refusal),
        "reports": len(reports),
        "rejects_own_reference": dict(reasons["right"].most_common()),
        "rejects_other_reference": dict(reasons["other"].most_common()),
        "records_per_second": round((2 * len(reports) - 1) / seconds),
        "pairs": len(pairs),
        "pairs_refused_by_tokens": {name: refused(pairs, one) for name, one in families(reports).items()},
    }
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
