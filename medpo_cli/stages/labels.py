"""What some objectives read beside a pair's spans, made from its facts: sentences, weights, degrees."""

from pathlib import Path
from typing import Any

import msgspec

from medpo_cli.errors import RecordError
from medpo_cli.schema.config import EditConfig
from medpo_cli.schema.extras import extras
from medpo_cli.schema.records import Offsets, Pair, Weights
from medpo_cli.text import weights
from medpo_cli.text.lexicon import Lexicon, load_lexicon
from medpo_cli.text.truth import Question, Reading, ask, read

SIDES = ("chosen", "rejected")


class Labels:
    """Adds the fields that the settings ask for (``sentence_labels``, ``weights``, ``degrees``)."""

    def __init__(self, config: EditConfig) -> None:
        self._config = config
        self._lexicon: Lexicon = load_lexicon(Path(config.lexicon) if config.lexicon else None)
        self._idle = config.weights == "none" and not config.sentence_labels and not config.degrees

    def added(self, pair: Pair) -> Pair:
        """The pair with its labels; ``ext.align`` keeps whatever else it held.

        Raises:
            RecordError: ``no-sentence`` where a side has none that counts, ``extras-malformed``.
        """
        if self._idle:
            return pair
        question = ask(pair.prompt, pair.task, self._lexicon)
        truth, *sides = (read(text or "", question, self._lexicon) for text in (pair.reference, *_texts(pair)))
        pair = msgspec.structs.replace(pair, weights=self._weights(pair, truth))
        more = self._more(pair, sides, truth, question)
        if not more:
            return pair
        extras(pair)
        ext = pair.ext or {}
        return msgspec.structs.replace(pair, ext={**ext, "align": {**ext.get("align", {}), **more}})

    def _weights(self, pair: Pair, truth: Reading) -> Weights | None:
        asked = self._config.weights
        example = weights.clinical(pair.spans, self._lexicon.urgency) if asked in ("clinical", "all") else None
        flip = weights.doubt(pair.spans, truth) if asked in ("confidence", "all") else None
        return pair.weights if example is None and flip is None else Weights(example=example, flip=flip)

    def _more(self, pair: Pair, sides: list[Reading], truth: Reading, question: Question) -> dict[str, Any]:
        """New fields of ``ext.align``."""
        chosen, rejected = sides
        edited = [[getattr(span, side) for span in pair.spans] for side in SIDES]
        more: dict[str, Any] = {}
        if self._config.sentence_labels:
            more["keep"] = {
                "chosen": _filled(weights.kept(chosen, truth, edited[0], right=True), "chosen", "right"),
                "rejected": _filled(weights.kept(rejected, truth, edited[1], right=False), "rejected", "wrong"),
            }
        if self._config.weights in ("tokens", "all"):
            found = (weights.word_weights(said, places) for said, places in zip(sides, edited, strict=True))
            more["word_weights"] = {"rest": weights.REST, **dict(zip(SIDES, found, strict=True))}
        if self._config.degrees:
            found_degrees = (weights.degree(said, truth, question, self._lexicon) for said in sides)
            more["degree"] = dict(zip(SIDES, found_degrees, strict=True))
        return more


def _texts(pair: Pair) -> tuple[str, str]:
    return pair.chosen, pair.rejected


def _filled(places: list[Offsets], side: str, what: str) -> list[Offsets]:
    if not places:
        raise RecordError("no-sentence", f"no sentence of the {side} answer is {what}", "$.spans")
    return places
