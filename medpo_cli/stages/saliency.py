"""Regions that the policy itself points at (``medpo masks --regions saliency``); marked circular."""

from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from medpo_cli.errors import RecordError
from medpo_cli.imaging.geometry import from_picture
from medpo_cli.imaging.image import Mask
from medpo_cli.imaging.mask_command import Asked
from medpo_cli.imaging.window import frame_of
from medpo_cli.io.context import Context
from medpo_cli.schema.config import MasksConfig
from medpo_cli.schema.records import Case, Pair, Sample
from medpo_cli.stages.corrupt_target import normalised
from medpo_cli.stages.found import Found
from medpo_cli.stages.sample import Views

if TYPE_CHECKING:
    from medpo_cli.models.base import VisionLanguageModel

WHOLE = "saliency"
"""Target and label where a record names no finding: the whole answer counts."""


class SaliencyFinder:
    """The most salient share of the picture, for the words that an answer says about a finding."""

    circular = True

    def __init__(self, config: MasksConfig, context: Context) -> None:
        self._config, self._context = config, context
        self._views = Views(context)

    @cached_property
    def _vlm(self) -> "VisionLanguageModel":
        from medpo_cli.models.folder import check_model_folder

        check_model_folder(Path(self._config.model))  # before the seconds that the libraries take to import
        from medpo_cli.models.load import load_configured

        vlm = load_configured(self._config)
        self._context.facts |= vlm.facts
        self._context.progress.note(f"model {vlm.name} on {vlm.device}")
        return vlm

    @property
    def source(self) -> str:
        """Method and model digest."""
        return f"saliency-{self._config.saliency}:{self._vlm.digest[:16]}"

    def find(self, case: Case, asked: Asked) -> Found:
        """The mask; ``no-answer`` or ``no-words`` where the policy said nothing that could be asked about."""
        answer = answer_of(case)
        if answer is None:
            return Found("no-answer")
        words = words_about(case, asked.target)
        if words is None:
            return Found("no-words")
        if case.images[0].montage or case.images[0].projection:
            raise RecordError("saliency-unplaced", "the policy saw several slices, and no mask lies on all", "$.image")
        from medpo_cli.models.saliency import Question, saliency

        question = Question(case.prompt, self._views.of(case), answer, words)
        found = saliency(self._vlm, question, self._config.saliency)
        if found.max() <= found.min():
            return Found("not-found")
        mask: Mask = np.zeros(asked.image.shape, bool, order="F")
        mask[:, :, frame_of(asked.image, asked.frame)] = from_picture(
            most_salient(found, self._config.saliency_share), asked.image.affine
        )
        return Found("ok", mask)

    def close(self) -> None:
        """Nothing to end."""


def answer_of(case: Case) -> str | None:
    """What the policy said: the on-policy side of a pair (chosen where neither is), the first answer of a sample."""
    if isinstance(case, Pair):
        return case.rejected if case.on_policy == "rejected" else case.chosen
    return case.responses[0].text if isinstance(case, Sample) else None


def words_about(case: Case, target: str) -> list[tuple[int, int]] | None:
    """Ranges of the answer that edits of this label changed; empty: the whole answer; None: they changed no words."""
    side = "rejected" if isinstance(case, Pair) and case.on_policy == "rejected" else "chosen"
    spans = [
        getattr(span, side)
        for span in (case.spans if isinstance(case, Pair) else [])
        if span.label and normalised(target) in {normalised(label) for label in span.label.split("+")}
    ]
    words = [(start, end) for start, end in spans if end > start]
    return None if spans and not words else words


def most_salient(found: np.ndarray, share: float) -> Mask:
    """The ``share`` of pixels with the highest values; equal ones in reading order."""
    count = max(1, round(share * found.size))
    mask = np.zeros(found.size, bool)
    mask[np.argsort(-found.ravel(), kind="stable")[:count]] = True
    return mask.reshape(found.shape)
