"""Answers of a policy, in batches that do not change them.

Questions about one image share the pass over the image, answers to one question share the pass over the
question, and answers that are finished leave the batch. Decoding settings in the model folder are ignored:
what a record says about decoding is all there is.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import pad
from transformers import DynamicCache, GenerationConfig

from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.family import EncodedPrompt, ImageFeatures
from medpo_cli.models.family.base import concatenate
from medpo_cli.models.prefix import cut, left_padded, left_padded_positions, read_images
from medpo_cli.models.sampling import Chooser
from medpo_cli.models.seeds import derive_seed
from medpo_cli.schema.records import Decoding, Response


@dataclass(frozen=True)
class Request:
    """One question.

    Attributes:
        prompt: the question.
        images: uint8 [H, W, 3] each.
        seed: of its answers; answer i has the stream of ``derive_seed(seed, i)``.
        encoded: what ``encode_prompt`` made of it, where that is known already.
    """

    prompt: str
    images: Sequence[np.ndarray]
    seed: int = 0
    encoded: EncodedPrompt | None = None


@dataclass
class _Row:
    """One answer in the making."""

    request: int
    index: int
    seed: int
    prompt: EncodedPrompt
    ids: list[int] = field(default_factory=list)
    logprob: float = 0.0
    stopped: bool = False

    def take(self, token: int, logprob: float, stop_ids: Sequence[int]) -> None:
        self.ids.append(token)
        self.logprob += logprob
        self.stopped = token in stop_ids


@torch.no_grad()
def generate(
    vlm: VisionLanguageModel, requests: Sequence[Request], decoding: Decoding, *, batch: int = 16
) -> list[list[Response]]:
    """``decoding.n`` answers to each request, in order.

    Args:
        vlm: the policy, with adapters as they are.
        requests: any number; images are encoded once while they are next to each other in length order.
        decoding: temperature, top_p, longest answer, answers a request.
        batch: answers generated together; memory grows with it. Answers do not change, unless rounding
            decides between two equally likely tokens (in bfloat16 now and then).

    Returns:
        For each request its answers. ``logprob`` is the sum of the answer's token log-probabilities (nats)
        at temperature 1, end token included; ``tokens`` counts the end token; ``finish`` is ``length``
        where no end token came.

    Raises:
        RecordError: a prompt cannot be encoded.
    """
    rows = [
        _Row(number, index, derive_seed(request.seed, index), prompt)
        for number, request in enumerate(requests)
        for prompt in [request.encoded or vlm.encode_prompt(request.prompt, request.images)]
        for index in range(decoding.n)
    ]
    known: dict[str, ImageFeatures] = {}
    for chunk in _chunks(vlm, rows, batch):
        if vlm.family.own_loop:
            known = _features(vlm, chunk, known)
            _answer(vlm, chunk, known, decoding)
        else:
            _answer_by_library(vlm, chunk, decoding)
    answers: list[list[Response]] = [[] for _ in requests]
    for row in rows:
        answers[row.request].append(_response(vlm, row))
    return answers


def _chunks(vlm: VisionLanguageModel, rows: Sequence[_Row], batch: int) -> Iterator[list[_Row]]:
    """Rows in batches: same kind, like lengths and equal images together; one prompt a batch through the library."""

    def kind(row: _Row) -> object:
        return bool(row.prompt.vision) if vlm.family.own_loop else row.request

    def order(row: _Row) -> tuple[bool, int, str, int, int, int]:
        prompt = row.prompt
        return bool(prompt.vision), cut(prompt), prompt.image_key, len(prompt), row.request, row.index

    chunk: list[_Row] = []
    for row in sorted(rows, key=order):
        if chunk and (len(chunk) == batch or kind(chunk[0]) != kind(row)):
            yield chunk
            chunk = []
        chunk.append(row)
    if chunk:
        yield chunk


def _features(
    vlm: VisionLanguageModel, rows: Sequence[_Row], known: dict[str, ImageFeatures]
) -> dict[str, ImageFeatures]:
    """Features of the batch's images by key, taking over what the batch before had."""
    needed = {row.prompt.image_key: row.prompt for row in rows}
    new = [prompt for key, prompt in needed.items() if key not in known]
    found = known | dict(zip((prompt.image_key for prompt in new), vlm.image_features(new), strict=True))
    return {key: found[key] for key in needed}


def _answer(vlm: VisionLanguageModel, rows: list[_Row], features: dict[str, ImageFeatures], decoding: Decoding) -> None:
    """Fill the rows: one pass over the prompts, then token by token; finished rows leave the batch."""
    cache = DynamicCache()
    mask, logits = _prefill(vlm, rows, features, cache)
    start = torch.stack([vlm.positions(row.prompt, len(row.prompt) + 1)[:, -1] for row in rows], dim=1).to(vlm.device)
    chooser = Chooser(decoding, [row.seed for row in rows])
    active = list(range(len(rows)))
    for step in range(decoding.max_tokens):
        tokens, logprobs = chooser(logits, active)
        for number, token, logprob in zip(active, tokens, logprobs, strict=True):
            rows[number].take(token, logprob, vlm.stop_ids)
        left = [place for place, number in enumerate(active) if not rows[number].stopped]
        if not left or step + 1 == decoding.max_tokens:
            return
        if len(left) < len(active):
            keep = torch.tensor(left, device=vlm.device)
            cache.batch_select_indices(keep)
            mask, start = mask[keep], start[:, keep]
            active = [active[place] for place in left]
        mask = pad(mask, (0, 1), value=1)
        ids = torch.tensor([[rows[number].ids[-1]] for number in active], device=vlm.device)
        positions = (start + step)[..., None]
        logits = vlm.forward(ids, attention_mask=mask, position_ids=positions, cache=cache, logits_to_keep=1)[:, -1]


def _prefill(
    vlm: VisionLanguageModel, rows: Sequence[_Row], features: dict[str, ImageFeatures], cache: Any
) -> tuple[Tensor, Tensor]:
    """Run each distinct image and each distinct question once; return mask [B, S] and last logits [B, V]."""
    prompts = list({row.request: row.prompt for row in rows}.values())
    before = read_images(vlm, prompts, features, cache)
    ids, mask = left_padded(vlm, [prompt.input_ids[cut(prompt) :] for prompt in prompts])
    positions = left_padded_positions(vlm, prompts, [(cut(prompt), len(prompt)) for prompt in prompts])
    mask = torch.cat([before, mask], dim=1)
    logits = vlm.forward(ids, attention_mask=mask, position_ids=positions, cache=cache, logits_to_keep=1)[:, -1]
    places_of = {row: place for place, row in enumerate(dict.fromkeys(row.request for row in rows))}
    repeat = torch.tensor([places_of[row.request] for row in rows], device=vlm.device)
    cache.batch_select_indices(repeat)
    return mask[repeat], logits[repeat]


def _answer_by_library(vlm: VisionLanguageModel, rows: list[_Row], decoding: Decoding) -> None:
    """Fill the rows of one prompt through the library's own loop, for models whose caches medpo does not know."""
    chooser = Chooser(decoding, [row.seed for row in rows])

    def choose(_ids: Tensor, scores: Tensor) -> Tensor:
        tokens, logprobs = chooser(scores, range(len(rows)))
        for row, token, logprob in zip(rows, tokens, logprobs, strict=True):
            if not row.stopped:
                row.take(token, logprob, vlm.stop_ids)
        only = torch.full_like(scores, -torch.inf)
        return only.scatter(1, torch.tensor(tokens, device=scores.device)[:, None], 0.0)

    ids = torch.stack([row.prompt.input_ids for row in rows]).to(vlm.device)
    vision = concatenate([vlm.moved(row.prompt).vision for row in rows])
    settings = GenerationConfig(
        max_new_tokens=decoding.max_tokens, do_sample=False, eos_token_id=vlm.stop_ids, pad_token_id=vlm.end_id
    )
    vlm.base.generate(
        input_ids=ids,
        attention_mask=torch.ones_like(ids),
        generation_config=settings,
        logits_processor=[choose],
        **vision,
        **vlm.family.token_inputs(ids),
    )


def _response(vlm: VisionLanguageModel, row: _Row) -> Response:
    said = row.ids[:-1] if row.stopped else row.ids
    return Response(
        text=unicodedata.normalize("NFC", vlm.decode(said)),
        logprob=row.logprob,
        tokens=len(row.ids),
        finish="stop" if row.stopped else "length",
    )
