"""Records to token sequences: which answers are scored under which image, and which tokens are needed."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from medpo_cli.errors import RecordError
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.family import EncodedPrompt
from medpo_cli.schema import objectives as kinds
from medpo_cli.schema.extras import AlignExtras, extras
from medpo_cli.schema.records import Case, ImageRef, Pair, Ranking
from medpo_cli.training.answers import AnswerTokens, Reads, tokens_of
from medpo_cli.training.batches import Answer, Example, Prompt, PromptTokens, Unit
from medpo_cli.training.needs import sequences_of, usable

LoadImage = Callable[[ImageRef, str], np.ndarray]


class Encoder:
    """Turns records into examples for one model and one objective.

    Args:
        vlm: the model whose tokenizer, template and positions count.
        terms: the objective; only what it reads is prepared.
        load: gives the uint8 [H, W, 3] view of an image reference (field name for its errors).
    """

    def __init__(self, vlm: VisionLanguageModel, terms: Sequence[kinds.Term], load: LoadImage) -> None:
        self.vlm, self.load, self.terms = vlm, load, tuple(terms)
        self.reads = {name: Reads.of(name, self.terms) for name in sequences_of(terms)}
        self._tokens: dict[tuple[str, tuple[tuple[int, ...], ...]], PromptTokens] = {}

    def example(self, record: Case, number: int) -> Example:
        """The sequences that the objective needs of ``record``, the ``number``-th of the run.

        Raises:
            RecordError: ``no-signal`` where no term applies, ``no-tokens`` where spans cover no token, what
                ``tokens_of`` and the images refuse.
        """
        more = extras(record)
        terms = [term for term in self.terms if usable(term, record, more)]
        if not terms:
            raise RecordError("no-signal", "no term of the objective has what it reads", "$.corrupted")
        answers = {name: list(self._answers(name, record, more)) for name in sequences_of(terms)}
        if any(self.reads[name].span for name in answers) and not any(
            any(answer.span) for group in answers.values() for answer in group
        ):
            raise RecordError("no-tokens", "no token of either answer lies inside a span", "$.spans")
        weights = record.weights if isinstance(record, Pair) else None
        weight = 1.0 if weights is None or weights.example is None else weights.example
        units = (
            Unit(number, tuple(answer for name in names for answer in answers[name]), weight)
            for names in connected([term.sequences for term in terms])
        )
        return Example(record.id, tuple(units))

    def encode_prompt(self, prompt: Prompt) -> EncodedPrompt:
        """The prompt with its pixels, read again from its files."""
        return self.vlm.encode_prompt(prompt.text, [self.load(ref, prompt.field) for ref in prompt.images])

    def _answers(self, name: str, record: Case, more: AlignExtras) -> Iterator[Answer]:
        """The sequence ``name``: one answer, or those of a list in order."""
        if isinstance(record, Ranking):
            prompt = self._prompt(record, tuple(record.images), "$.image")
            for rank in sorted(range(len(record.responses)), key=lambda i: -record.responses[i].reward):
                one = record.responses[rank]
                facts = {"reward": one.reward} | ({"old": more.old_logprobs[rank]} if more.old_logprobs else {})
                yield self._answer(name, prompt, AnswerTokens(*self._ids(one.text)), facts)
        elif isinstance(record, Pair):
            facts = _facts(name, record, more)
            tokens = tokens_of(self.vlm, name, record, more, self.reads[name])
            if name == "#":
                for ref, field in more.ladder_images():
                    prompt = self._prompt(record, (ref, *record.images[1:]), field)
                    yield self._answer(name, prompt, tokens, facts)
            else:
                yield self._answer(name, self._prompt(record, *_images(name, record, more)), tokens, facts)

    def _ids(self, text: str) -> tuple[list[int], list[tuple[int, int]]]:
        encoded = self.vlm.encode_answer(text)
        return encoded.ids.tolist(), encoded.offsets

    def _answer(self, name: str, prompt: Prompt, tokens: AnswerTokens, facts: dict[str, float]) -> Answer:
        reads = self.reads[name]
        needed = reads.needed(tokens)

        def at(values: Sequence[float]) -> list[float]:
            return [values[t] for t in needed] if values else []

        return Answer(
            name,
            prompt,
            tokens.ids[: needed[-1] + 1 if needed else 0],
            needed,
            [bool(tokens.span) and tokens.span[t] for t in needed],
            [reads.wants_kl(tokens, t) for t in needed],
            [bool(kept) for kept in at(tokens.sentence)],
            at(tokens.weights),
            facts,
        )

    def _prompt(self, record: Case, images: tuple[ImageRef, ...], field: str) -> Prompt:
        arrays = [self.load(ref, field) for ref in images]
        key = (record.prompt, tuple(array.shape for array in arrays))
        if key not in self._tokens:
            self._tokens[key] = self._prompt_tokens(self.vlm.encode_prompt(record.prompt, arrays))
        return Prompt(self._tokens[key], _content(arrays), record.prompt, images, field)

    def _prompt_tokens(self, encoded: EncodedPrompt) -> PromptTokens:
        image_at, seen = [], 0
        for is_image in encoded.image_positions.tolist():
            image_at.append(seen if is_image else -1)
            seen += is_image
        return PromptTokens(encoded.input_ids.tolist(), image_at, self.vlm.positions(encoded, len(encoded)))


def connected(groups: Sequence[Sequence[str]]) -> list[list[str]]:
    """Names joined by shared groups, each part in order of first appearance."""
    parts: list[dict[str, None]] = []
    for group in groups:
        joined = dict.fromkeys(group)
        touching = [part for part in parts if not part.keys().isdisjoint(joined)]
        merged = {name: None for part in [*touching, joined] for name in part}
        at = parts.index(touching[0]) if touching else len(parts)
        parts = [part for part in parts if part not in touching]
        parts.insert(at, merged)
    return [list(part) for part in parts]


def with_mismatches(examples: Sequence[Example]) -> list[Example]:
    """Each question also with the answers of the next record: what KTO estimates the batch's KL from."""
    made = []
    for example, other in zip(examples, [*examples[1:], *examples[:1]], strict=True):
        prompt = example.units[0].answers[0].prompt
        answers = tuple(replace(answer, name=f"~{answer.name}", prompt=prompt) for answer in other.units[0].answers)
        made.append(replace(example, mismatched=(Unit(example.units[0].number, answers, 1.0),)))
    return made


def _images(name: str, pair: Pair, more: AlignExtras) -> tuple[tuple[ImageRef, ...], str]:
    """The images that a sequence is shown and their field: corrupted and twin image replace the first one."""
    if name.startswith("'") and pair.corrupted:
        return (pair.corrupted.image, *pair.images[1:]), "$.corrupted.image"
    if name.startswith("2:"):
        ((ref, field),) = more.twin_images()
        return (ref, *pair.images[1:]), field
    return tuple(pair.images), "$.image"


def _facts(name: str, pair: Pair, more: AlignExtras) -> dict[str, float]:
    """The numbers that a record gives for one of its sequences."""
    side = "rejected" if name.endswith("-") else "chosen"
    facts = {"there": float(more.only in (None, side))}
    if pair.weights and pair.weights.flip is not None:
        facts["flip"] = pair.weights.flip
    if more.degree:
        facts["degree"] = float(getattr(more.degree, side))
    return facts


def _content(arrays: list[np.ndarray]) -> str:
    key = hashlib.blake2b(digest_size=16)
    for array in arrays:
        key.update(str(array.shape).encode())
        key.update(np.ascontiguousarray(array).tobytes())
    return key.hexdigest()
