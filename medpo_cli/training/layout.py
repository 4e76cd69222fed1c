"""Micro-batches: the answers of several units as rows of tokens, with the indices to read results back."""

import hashlib
import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from medpo_cli.models.family import Family
from medpo_cli.training.batches import Answer, Prompt, Unit
from medpo_cli.training.forest import grow
from medpo_cli.training.indices import Index, Reading, read_back

VERSION = 2
"""Part of every reference key: raise it when a row of equal answers would be laid out in another way."""


@dataclass(frozen=True)
class TreeRow:
    """One row before padding.

    Attributes:
        ids: token of every node, int64 [S].
        end: end of every node's subtree, int64 [S].
        positions: int64 [axes, S].
        prompts: prompts whose image placeholders appear, in order of appearance.
        answers: what it holds.
        predictors: for each answer the node that predicts each needed token.
    """

    ids: np.ndarray
    end: np.ndarray
    positions: np.ndarray
    prompts: list[Prompt]
    answers: Sequence[Answer]
    predictors: list[list[int]]

    @cached_property
    def reading(self) -> Reading:
        """Which nodes predict which tokens, and where whole distributions are read."""
        return Reading.of(self.answers, self.predictors)

    @cached_property
    def key(self) -> str:
        """Hash of all that decides what a frozen model says about this row."""
        key = hashlib.blake2b(f"{VERSION}".encode(), digest_size=16)
        for array in (self.ids, self.end, self.positions, *self.reading.arrays):
            key.update(str(array.shape).encode() + np.ascontiguousarray(array).tobytes())
        for prompt in self.prompts:
            key.update(prompt.content.encode())
        return key.hexdigest()


@dataclass(frozen=True)
class Bundle:
    """Units that are forwarded together, and the rows that hold their answers."""

    units: list[Unit]
    rows: list[TreeRow]

    @property
    def tokens(self) -> int:
        """Tokens of all rows."""
        return sum(len(row.ids) for row in self.rows)

    @property
    def width(self) -> int:
        """Tokens of the longest row."""
        return max(len(row.ids) for row in self.rows)


@dataclass(frozen=True)
class Layout:
    """One forward pass.

    Attributes:
        units: what it computes.
        rows: the rows before padding.
        input_ids: ``[B, S]``.
        attention_mask: what the family's ``tree_mask`` gives (forest), or 0/1 ``[B, S]`` (plain rows).
        position_ids: ``[axes, B, S]``.
        keep: positions whose states are needed, bool ``[B, S]``; ``N`` of them, numbered row by row.
        index: where the results of each sequence name are.
        pairs: number of the kept state and token predicted, int64 ``[2, P]``, row by row.
        kl: numbers of the kept states whose whole distribution is read, int64 ``[K]``, rising.
        tokens: tokens without padding.
    """

    units: list[Unit]
    rows: list[TreeRow]
    input_ids: Tensor
    attention_mask: Tensor | dict[str, Tensor]
    position_ids: Tensor
    keep: Tensor
    index: dict[str, Index]
    pairs: Tensor
    kl: Tensor
    tokens: int
    prompts: list[Prompt] = field(default_factory=list)


def bundles(units: Sequence[Unit], *, forest: bool, room: float = math.inf) -> list[Bundle]:
    """Units as rows: a tree for all answers about the same image, or a plain row for each answer.

    Units that share an image are forwarded together, as many as ``room`` tokens hold.
    """
    if not forest:
        return [Bundle([unit], [tree_row([answer]) for answer in unit.answers]) for unit in units]
    return [bundle for group in _sharing(units) for bundle in _within(group, room)]


def _within(group: list[Unit], room: float) -> list[Bundle]:
    """The units in order, in bundles of at most ``room`` tokens, at least one unit each."""
    together = Bundle(group, tree_rows(group))
    if together.tokens <= room or len(group) == 1:
        return [together]
    found = [Bundle(group[:1], tree_rows(group[:1]))]
    for unit in group[1:]:
        longer = Bundle([*found[-1].units, unit], tree_rows([*found[-1].units, unit]))
        if longer.tokens <= room:
            found[-1] = longer
        else:
            found.append(Bundle([unit], tree_rows([unit])))
    return found


def _sharing(units: Sequence[Unit]) -> list[list[Unit]]:
    """Units connected by images that they have in common, in order of first appearance."""
    groups: list[tuple[set[str], list[Unit]]] = []
    for unit in units:
        contents = {answer.prompt.content for answer in unit.answers}
        touching = [group for group in groups if group[0] & contents]
        if not touching:
            groups.append((contents, [unit]))
            continue
        first, *others = touching
        for other in others:
            first[0].update(other[0])
            first[1].extend(other[1])
            groups.remove(other)
        first[0].update(contents)
        first[1].append(unit)
    return [members for _, members in groups]


def tree_rows(units: Sequence[Unit]) -> list[TreeRow]:
    """One tree for each image that the units look at."""
    by_image: dict[str, list[Answer]] = {}
    for unit in units:
        for answer in unit.answers:
            by_image.setdefault(answer.prompt.content, []).append(answer)
    return [tree_row(answers) for answers in by_image.values()]


def tree_row(answers: Sequence[Answer]) -> TreeRow:
    """All ``answers`` as one trie; equal prompts with equal images are written once."""
    tokens = [answer.prompt.tokens.ids + answer.ids[:-1] for answer in answers]
    forest = grow([_keys(answer) for answer in answers])
    ids = np.zeros(len(forest.keys), dtype=np.int64)
    positions = np.zeros((answers[0].prompt.tokens.positions.shape[0], len(ids)), dtype=np.int64)
    for answer, path, sequence in zip(answers, forest.paths, tokens, strict=True):
        ids[path] = sequence
        positions[:, path] = _positions(answer, len(sequence))
    contents = {(_image_key(answer.prompt), 0): answer.prompt for answer in answers}
    prompts = [contents[key] for key in forest.keys if isinstance(key, tuple) and key[1] == 0]
    predictors = [
        [path[len(answer.prompt.tokens.ids) + t - 1] for t in answer.needed]
        for answer, path in zip(answers, forest.paths, strict=True)
    ]
    return TreeRow(ids, np.asarray(forest.end), positions, prompts, answers, predictors)


def _keys(answer: Answer) -> list[Hashable]:
    """Trie keys: token ids; placeholders are told apart by what their image shows."""
    image = _image_key(answer.prompt)
    prompt = answer.prompt.tokens
    keys: list[Hashable] = [
        (image, j) if j >= 0 else token for token, j in zip(prompt.ids, prompt.image_at, strict=True)
    ]
    return keys + answer.ids[:-1]


def _image_key(prompt: Prompt) -> str:
    """With several images the text counts too: a tree must not branch between two images of one prompt."""
    return prompt.content if len(prompt.images) == 1 else f"{prompt.content}:{prompt.text}"


def _positions(answer: Answer, length: int) -> np.ndarray:
    head = answer.prompt.tokens.positions.numpy()
    tail = head.max() + 1 + np.arange(length - head.shape[1])
    return np.concatenate([head, np.broadcast_to(tail, (head.shape[0], len(tail)))], axis=1)


def plan(work: Sequence[Bundle], budget: int) -> list[list[Bundle]]:
    """Bundles of similar width together, at most ``budget`` tokens with padding, at least one bundle each."""
    batches: list[list[Bundle]] = []
    rows = 0
    for bundle in sorted(work, key=lambda item: item.width):
        rows += len(bundle.rows)
        if not batches or rows * bundle.width > budget:
            batches.append([])
            rows = len(bundle.rows)
        batches[-1].append(bundle)
    return batches


def collate(work: Sequence[Bundle], *, forest: bool, device: torch.device, family: Family) -> Layout:
    """Rows of several bundles padded on the right to one forward pass on ``device``."""
    rows = [row for bundle in work for row in bundle.rows]
    units = [unit for bundle in work for unit in bundle.units]
    width = max(len(row.ids) for row in rows)
    ids = np.zeros((len(rows), width), dtype=np.int64)
    end = np.broadcast_to(np.arange(1, width + 1), ids.shape).copy()
    positions = np.zeros((rows[0].positions.shape[0], *ids.shape), dtype=np.int64)
    keep = np.zeros(ids.shape, dtype=bool)
    for i, row in enumerate(rows):
        size = len(row.ids)
        ids[i, :size], end[i, :size], positions[:, i, :size] = row.ids, row.end, row.positions
        keep[i, row.reading.nodes] = True
    real = np.array([[len(row.ids)] for row in rows])
    mask = torch.from_numpy((np.arange(width) < real).astype(np.int64))
    index, pairs, kl = read_back(units, rows, device)
    input_ids = torch.from_numpy(ids).to(device)
    return Layout(
        units,
        rows,
        input_ids,
        family.tree_mask(torch.from_numpy(end).to(device), input_ids) if forest else mask.to(device),
        torch.from_numpy(positions).to(device),
        torch.from_numpy(keep).to(device),
        index,
        pairs,
        kl,
        int(real.sum()),
        [prompt for row in rows for prompt in row.prompts],
    )
