"""``medpo eval --attention``: where an arm looks when it answers, for every case with regions of its own.

Read on the intact image, from the words of the arm's own answer that state the finding. Nothing is left out without
a word: what cannot be measured is counted by reason.
"""

from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import msgspec
import numpy as np

from medpo_cli.errors import RecordError, UsageError
from medpo_cli.evaluation.alignment import energy, pointing
from medpo_cli.evaluation.arms import Arms
from medpo_cli.evaluation.scenes import Scene, cell_shares, scene_of
from medpo_cli.evaluation.targets import Target, targets, words
from medpo_cli.evaluation.vgmed import NUMBERS, Setting, measure
from medpo_cli.io.context import Context
from medpo_cli.schema.records import Case, Score
from medpo_cli.text.fact import Offsets
from medpo_cli.text.lexicon import Lexicon

if TYPE_CHECKING:
    from medpo_cli.models.base import VisionLanguageModel

Counts = dict[str, float]
Found = tuple[Counts, list[str]]
"""Counts of one case, and why some of it was not available."""


@runtime_checkable
class Opened(Protocol):
    """Arms whose model can be looked into."""

    def using(self, arm: str) -> "AbstractContextManager[VisionLanguageModel]":
        """The model, answering as ``arm`` for as long as it lasts."""


def opened(arms: Arms) -> Opened:
    """The arms, if they can be looked into.

    Raises:
        UsageError: they cannot.
    """
    if not isinstance(arms, Opened):
        raise UsageError("--attention needs a model that is loaded here")
    return arms


class Looker:
    """Adds the measures of attention to scores, and remembers why some could not be had."""

    def __init__(self, context: Context, lexicon: Lexicon) -> None:
        self._context, self._lexicon = context, lexicon
        self._missing: Counter[str] = Counter()
        self._wanted = 0

    def looked(self, case: Case, scores: Sequence[Score], arms: Opened) -> list[Score]:
        """The scores of one case, one per arm, with what the arms look at; as they are where it has no region."""
        found = targets(case, self._lexicon)
        if not found:
            return list(scores)
        scene: Scene | RecordError
        try:
            with arms.using(str(scores[0].arm)) as vlm:
                scene = scene_of(case, found, self._context, vlm)
        except RecordError as error:
            scene = error
        looked = []
        for score in scores:
            with arms.using(str(score.arm)) as vlm:
                counts, reasons = self._counts(scene, found, score.answer or "", vlm)
            self._missing.update(reasons)
            self._wanted += len(found)
            ext = {**(score.ext or {}), **({"attention": {"missing": sorted(reasons)}} if reasons else {})}
            looked.append(msgspec.structs.replace(score, metrics=score.metrics | counts, ext=ext or None))
        return looked

    def note(self) -> str:
        """One line about what was not available; empty if nothing was missing."""
        told = ", ".join(f"{reason} {count}" for reason, count in sorted(self._missing.items()))
        return f"not available among {self._wanted} looks (arms x findings with a region): {told}" if told else ""

    def _counts(
        self, scene: Scene | RecordError, found: Sequence[Target], answer: str, vlm: "VisionLanguageModel"
    ) -> Found:
        total: Counter[str] = Counter()
        reasons: list[str] = []
        for number, target in enumerate(found):
            total["attention.wanted"] += 1
            said = words(answer, target, self._lexicon)
            if not said:
                total["attention.unsaid"] += 1
                continue
            for name, look in (("", _attention), ("gradient_", _gradient)):
                try:
                    total.update(look(_usable(scene), number, answer, said, vlm))
                except RecordError as error:
                    total[f"attention.{name}unavailable"] += 1
                    reasons.append(f"{name.removesuffix('_') or 'attention'}:{error.reason}")
        if not isinstance(scene, RecordError) and scene.vgmed:
            counts, why = vgmed_counts(scene, vlm)
            total.update(counts)
            reasons += why
        return {key: round(float(value), 6) for key, value in total.items()}, reasons


def _usable(scene: Scene | RecordError) -> Scene:
    if isinstance(scene, RecordError):
        raise scene
    return scene


def _attention(scene: Scene, number: int, answer: str, said: Sequence[Offsets], vlm: "VisionLanguageModel") -> Counts:
    """Attention of the words' tokens in a target's area, overall and by layer."""
    from medpo_cli.models.attention import image_attention
    from medpo_cli.models.saliency import Question, counted_tokens

    known, share = scene.tokens(number)
    counted = counted_tokens(vlm, Question(scene.case.prompt, scene.views, answer, said))
    read = image_attention(vlm, scene.prompt, vlm.encode_answer(answer).ids, counted).double().numpy()
    on_image, maps = read.sum(1), read[:, known]
    inside, hits = energy(maps, share), pointing(maps, share > 0)
    layers = np.flatnonzero(np.isfinite(inside))
    if not len(layers):
        raise RecordError("attention-empty", "no layer gives attention to the picture")
    counts = {
        "attention.items": 1.0,
        "attention.energy": float(inside[layers].mean()),
        "attention.area": float(share.mean()),
        "attention.pointed": float(pointing(maps[layers].mean(0), share > 0)),
        "attention.pointable": float((share > 0).mean()),
        "attention.image": float(on_image[layers].mean()),
    }
    for k in layers:
        row = {"items": 1.0, "energy": inside[k], "pointed": hits[k], "image": on_image[k]}
        counts |= {f"attention.{name}@{k}": float(value) for name, value in row.items()}
    return counts


def _gradient(scene: Scene, number: int, answer: str, said: Sequence[Offsets], vlm: "VisionLanguageModel") -> Counts:
    """Gradient x input of the words' log-probability in a target's area, on the cells of its map."""
    from medpo_cli.models.saliency import Question, cells

    found = cells(vlm, Question(scene.case.prompt, scene.views, answer, said), "gradient")
    share, seen = cell_shares(scene.areas[number], len(found))
    values, share = found.ravel()[seen], share[seen]
    if not values.any():
        raise RecordError("gradient-zero", "the words do not depend on the picture")
    return {
        "attention.gradients": 1.0,
        "attention.gradient_energy": float(energy(values, share)),
        "attention.gradient_area": float(share.mean()),
        "attention.gradient_pointed": float(pointing(values, share > 0)),
        "attention.gradient_pointable": float((share > 0).mean()),
    }


def vgmed_counts(scene: Scene, vlm: "VisionLanguageModel") -> Found:
    """Both forms of VGMED, overall and by layer; an item of which one is missing counts as not available."""
    counts: Counts = {"attention.questions": 1.0}
    reasons: list[str] = []
    for name, ready in scene.vgmed.items():
        try:
            counts |= _one_form(name, ready, vlm)
        except RecordError as error:
            counts["attention.vgmed_unavailable"] = 1.0
            reasons.append(f"{name}:{error.reason}")
    return counts, reasons


def _one_form(name: str, ready: Setting | RecordError, vlm: "VisionLanguageModel") -> Counts:
    if isinstance(ready, RecordError):
        raise ready
    found = measure(vlm, ready)
    layers = np.flatnonzero(np.isfinite(found).all(1))
    if not len(layers):
        raise RecordError("attention-empty", "no layer gives attention to the picture")
    counts = {f"attention.{name}_items": 1.0} | {f"attention.{name}_items@{k}": 1.0 for k in layers}
    for column, what in enumerate(NUMBERS):
        counts[f"attention.{name}_{what}"] = float(found[layers, column].mean())
        counts |= {f"attention.{name}_{what}@{k}": float(found[k, column]) for k in layers}
    return counts
