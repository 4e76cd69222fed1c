"""Micro-batches: the answers of several units as rows of tokens, with the indices to read results back."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from medpo_cli.models.family import Family
from medpo_cli.training.batches import Answer, Prompt, Unit
from medpo_cli.training.forest import grow


@dataclass(frozen=True)
class TreeRow:
    """One row before padding.

    Attributes:
        ids: token of every node, int64 [S].
        end: end of every node's subtree, int64 [S].
        positions: int64 [axes, S].
        prompts: prompts whose image placeholders appear, in order of appearance.
        predictors: for each answer the node that predicts each needed token.
    """

    ids: np.ndarray
    end: np.ndarray
    positions: np.ndarray
    prompts: list[Prompt]
    predictors: list[list[int]]


@dataclass(frozen=True)
class Bundle:
    """Units that are forwarded together, and the rows that hold their answers in order."""

    units: list[Unit]
    rows: list[TreeRow]

    @property
    def width(self) -> int:
        """Tokens of the longest row."""
        return max(len(row.ids) for row in self.rows)


@dataclass(frozen=True)
class Index:
    """Where the log-probabilities of one sequence name are among the kept logits.

    Attributes:
        units: indices into the micro-batch's units, ``B`` of them.
        kept: row of the kept logits that predicts each needed token, ``[B, T]``.
        labels: the tokens predicted, ``[B, T]``.
        span: tokens inside spans, bool ``[B, T]``.
        response: False at padding, bool ``[B, T]``.
    """

    units: list[int]
    kept: Tensor
    labels: Tensor
    span: Tensor
    response: Tensor


@dataclass(frozen=True)
class Layout:
    """One forward pass.

    Attributes:
        units: what it computes.
        input_ids: ``[B, S]``.
        attention_mask: what the family's ``tree_mask`` gives (forest), or 0/1 ``[B, S]`` (plain rows).
        position_ids: ``[axes, B, S]``.
        keep: positions whose logits are needed, bool ``[B, S]``.
        prompts: prompts in order of appearance of their image placeholders.
        index: by sequence name.
        tokens: tokens without padding.
    """

    units: list[Unit]
    input_ids: Tensor
    attention_mask: Tensor | dict[str, Tensor]
    position_ids: Tensor
    keep: Tensor
    prompts: list[Prompt]
    index: dict[str, Index]
    tokens: int


def bundles(units: Sequence[Unit], *, forest: bool) -> list[Bundle]:
    """Units as rows: one tree for all units that show the same image, or one plain row for each answer."""
    if not forest:
        return [Bundle([unit], [tree_row([answer]) for answer in unit.answers]) for unit in units]
    groups: dict[str, list[Unit]] = {}
    for unit in units:
        groups.setdefault(unit.answers[0].prompt.content, []).append(unit)
    return [Bundle(group, [tree_row([a for unit in group for a in unit.answers])]) for group in groups.values()]


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
    return TreeRow(ids, np.asarray(forest.end), positions, prompts, predictors)


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
        keep[i, [node for nodes in row.predictors for node in nodes]] = True
    real = np.array([[len(row.ids)] for row in rows])
    mask = torch.from_numpy((np.arange(width) < real).astype(np.int64))
    input_ids = torch.from_numpy(ids).to(device)
    return Layout(
        units,
        input_ids,
        family.tree_mask(torch.from_numpy(end).to(device), input_ids) if forest else mask.to(device),
        torch.from_numpy(positions).to(device),
        torch.from_numpy(keep).to(device),
        [prompt for row in rows for prompt in row.prompts],
        _indices(units, rows, keep, device),
        int(real.sum()),
    )


def _indices(units: list[Unit], rows: list[TreeRow], keep: np.ndarray, device: torch.device) -> dict[str, Index]:
    """For every sequence name the place of its needed tokens among the kept logits."""
    number = (np.cumsum(keep) - 1).reshape(keep.shape)
    places = [number[i, nodes].tolist() for i, row in enumerate(rows) for nodes in row.predictors]
    answers = [(u, answer) for u, unit in enumerate(units) for answer in unit.answers]
    named: dict[str, list[tuple[int, Answer, list[int]]]] = {}
    for (unit, answer), place in zip(answers, places, strict=True):
        named.setdefault(answer.name, []).append((unit, answer, place))
    return {name: _index(entries, device) for name, entries in named.items()}


def _index(entries: list[tuple[int, Answer, list[int]]], device: torch.device) -> Index:
    longest = max(len(place) for _, _, place in entries)
    kept = np.zeros((len(entries), longest), dtype=np.int64)
    labels, span = np.zeros_like(kept), np.zeros(kept.shape, dtype=bool)
    response = np.zeros(kept.shape, dtype=bool)
    for i, (_, answer, place) in enumerate(entries):
        size = len(place)
        kept[i, :size], span[i, :size], response[i, :size] = place, answer.span, True
        labels[i, :size] = [answer.ids[t] for t in answer.needed]
    tensors = (torch.from_numpy(array).to(device) for array in (kept, labels, span, response))
    return Index([unit for unit, _, _ in entries], *tensors)
