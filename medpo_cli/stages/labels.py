"""What some objectives read beside a pair's spans, made from its facts: sentences, weights, token weights."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from medpo_cli.errors import ConfigError
from medpo_cli.schema.config import EditConfig
from medpo_cli.schema.extras import extras
from medpo_cli.schema.records import Offsets, Pair, Weights
from medpo_cli.text.facts import compare, extract
from medpo_cli.text.lexicon import Lexicon, load_lexicon
from medpo_cli.text.spans import Tokenize, token_mask
from medpo_cli.text.words import sentences

USUAL = 0.5


class Labels:
    """Adds the fields that the settings ask for.

    Args:
        config: ``sentence_labels``, ``weights``, ``token_weight``, ``lexicon``.
        tokenize: of ``config.tokenizer``; needed for token weights.

    Raises:
        ConfigError: token weights without a tokenizer.
    """

    def __init__(self, config: EditConfig, tokenize: Tokenize | None) -> None:
        if config.token_weight and tokenize is None:
            raise ConfigError("token_weight needs --tokenizer FOLDER: weights belong to that model's tokens")
        self._config, self._tokenize = config, tokenize
        self._lexicon: Lexicon = load_lexicon(Path(config.lexicon) if config.lexicon else None)

    def added(self, pair: Pair) -> Pair:
        """The pair with its labels; ``ext.align`` keeps what it held.

        Raises:
            RecordError: ``extras-malformed``, what ``token_mask`` refuses.
        """
        if self._config.weights != "none":
            pair = msgspec.structs.replace(pair, weights=self._weights(pair))
        more: dict[str, Any] = {}
        if self._config.sentence_labels and (kept := self._sentences(pair)):
            more["keep"] = kept
        if self._config.token_weight and self._tokenize is not None:
            more["token_weights"] = {side: self._tokens(pair, side, self._tokenize) for side in ("chosen", "rejected")}
        if not more:
            return pair
        extras(pair)
        ext = pair.ext or {}
        return msgspec.structs.replace(pair, ext={**ext, "align": {**ext.get("align", {}), **more}})

    def _weights(self, pair: Pair) -> Weights:
        """MMedPO: mean urgency of the findings that were changed. RosePO: 1 - the editor's least confidence."""
        given = pair.weights or Weights()
        example, flip = given.example, given.flip
        if self._config.weights in ("clinical", "all"):
            findings = sorted({name for span in pair.spans for name in (span.label or "").split("+") if name})
            urgency = [self._lexicon.urgency.get(name, USUAL) for name in findings]
            example = round(sum(urgency) / len(urgency), 4) if urgency else USUAL
        if self._config.weights in ("confidence", "all"):
            flip = round(1 - min(span.confidence for span in pair.spans), 4)
        return Weights(example=example, flip=flip)

    def _sentences(self, pair: Pair) -> dict[str, list[Offsets]] | None:
        """Mask-DPO: sentences of chosen that the reference confirms, and of rejected that it contradicts.

        None where a side has none: then the spans' sentences count, as without labels.
        """
        kept = {
            "chosen": self._judged(pair.chosen, pair.reference or "", right=True),
            "rejected": self._judged(pair.rejected, pair.reference or "", right=False),
        }
        return kept if all(kept.values()) else None

    def _judged(self, text: str, reference: str, *, right: bool) -> list[Offsets]:
        matches = compare(extract(text, self._lexicon), extract(reference, self._lexicon)).matches
        wrong = {match.said.sentence for match in matches if match.said and match.errors}
        good = {match.said.sentence for match in matches if match.said and match.right} - wrong
        return [place for place in sentences(text) if place in (good if right else wrong)]

    def _tokens(self, pair: Pair, side: str, tokenize: Tokenize) -> list[float]:
        """TIS-DPO: the weight of each token, without the end token."""
        text: str = getattr(pair, side)
        spans: Sequence[Offsets] = [getattr(span, side) for span in pair.spans]
        mask = token_mask(tokenize(text)[1], spans, text)
        return [self._config.token_weight if inside else 1.0 for inside in mask]
