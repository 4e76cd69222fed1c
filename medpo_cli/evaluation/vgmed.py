"""VGMED's protocol in its two published forms: the question against a general prompt, layer by layer.

Both read attention from the last token of the prompt, mean over heads. They differ in what is asked and at which
size, so their numbers cannot be compared with each other:

- ``upstream`` (Medical-MLLMs-Fail ``measure_attention.py`` @c7263dd): an instruction to answer in one word behind both
  prompts; pictures of 784 to 50,176 pixels, where the model takes any size.
- ``firempo`` (FiRe-MPO ``utils/eval/visual_grounding.py`` @475b9f2): no instruction; at most 512 * 28 * 28 pixels.

Where a box covers no token, one stops and the other leaves the item out; here it is counted as not available.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from medpo_cli.errors import RecordError
from medpo_cli.evaluation.alignment import (
    Box,
    Flags,
    Floats,
    attention_ratio,
    box_cover,
    js_divergence,
    kl_divergence,
    relative,
)

if TYPE_CHECKING:
    from medpo_cli.models.base import VisionLanguageModel
    from medpo_cli.models.family import EncodedPrompt

GENERAL = "Write a general description of the image."
NUMBERS = ("ar", "kl", "js")


@dataclass(frozen=True)
class Form:
    """One published form: its name, what stands behind both prompts, and the bounds in pixels."""

    name: str
    instruction: str
    least: int | None
    most: int

    def text(self, prompt: str) -> str:
        """The prompt as it is asked."""
        return f"{prompt} {self.instruction}".strip()


FORMS = (
    Form("upstream", "Answer the question using a single word or phrase.", 784, 50_176),
    Form("firempo", "", None, 512 * 28 * 28),
)


@dataclass(frozen=True)
class Setting:
    """A question ready to be measured: both prompts, its tokens on the first picture, those that the boxes touch."""

    question: "EncodedPrompt"
    general: "EncodedPrompt"
    known: Flags
    cover: Flags


def setting(
    vlm: "VisionLanguageModel", form: Form, prompt: str, views: Sequence[np.ndarray], boxes: Sequence[Box]
) -> Setting:
    """Encode both prompts and find the tokens that the boxes touch.

    Args:
        vlm: the model.
        form: which of the two.
        prompt: the question.
        views: uint8 [H, W, 3] each.
        boxes: ``[x0, y0, x1, y1]`` in pixels of the first one.

    Raises:
        RecordError: ``attention-unplaced``, or ``region-unseen`` where the boxes touch no token.
    """
    from medpo_cli.models.places import pixel_budget, places

    shape = views[0].shape[:2]
    with pixel_budget(vlm, form.least, form.most):
        question, general = (vlm.encode_prompt(form.text(text), views) for text in (prompt, GENERAL))
        found = places(vlm, form.text(prompt), views, [box_cover(boxes, shape, shape).reshape(shape)])
    # On one grid the cover is that of the codes; tiles and cut pictures they do not know.
    cover = box_cover(boxes, shape, found.grid) if found.grid else found.shares[0] > 0
    if not cover.any():
        raise RecordError("region-unseen", "no image token shows the region")
    return Setting(question, general, found.known, cover)


def measure(vlm: "VisionLanguageModel", ready: Setting) -> Floats:
    """AR, KL and JS of each decoder layer, ``[layers, 3]``; NaN where a layer gives nothing to the picture."""
    from medpo_cli.models.attention import image_attention

    features = vlm.image_features([ready.question])[0]
    asked, general = (
        image_attention(vlm, prompt, features=features).double().numpy()[:, ready.known]
        for prompt in (ready.question, ready.general)
    )
    maps = relative(asked, general)
    return np.stack([f(maps, ready.cover) for f in (attention_ratio, kl_divergence, js_divergence)], axis=1)
