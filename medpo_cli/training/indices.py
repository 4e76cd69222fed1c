"""Where in a forward pass the numbers of each sequence are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from medpo_cli.training.batches import Answer, Unit

if TYPE_CHECKING:
    from medpo_cli.training.layout import TreeRow


@dataclass(frozen=True)
class Reading:
    """What is read of one row, each thing once.

    Attributes:
        nodes: nodes whose state is needed, int64 ``[N]``, rising.
        pairs: node and token predicted, int64 ``[2, P]``, rising.
        kl: nodes whose whole distribution is read, int64 ``[K]``, rising.
    """

    nodes: np.ndarray
    pairs: np.ndarray
    kl: np.ndarray

    @classmethod
    def of(cls, answers: Sequence[Answer], predictors: Sequence[Sequence[int]]) -> Reading:
        """Everything that ``answers`` need; ``predictors`` are the nodes that predict their needed tokens."""
        pairs: set[tuple[int, int]] = set()
        kl: set[int] = set()
        for answer, nodes in zip(answers, predictors, strict=True):
            pairs.update((node, answer.ids[t]) for node, t in zip(nodes, answer.needed, strict=True))
            kl.update(node for node, wanted in zip(nodes, answer.kl, strict=True) if wanted)
        nodes = sorted({node for node, _ in pairs})
        both = np.array(sorted(pairs), dtype=np.int64).reshape(-1, 2).T
        return cls(np.array(nodes, dtype=np.int64), both, np.array(sorted(kl), dtype=np.int64))

    @property
    def arrays(self) -> tuple[np.ndarray, ...]:
        """All of it."""
        return (self.nodes, self.pairs, self.kl)


@dataclass(frozen=True)
class Index:
    """Where the results of one sequence name are, one row a sequence (``M`` of them, padded to ``T`` tokens).

    Attributes:
        owner: which of the micro-batch's units each belongs to, int64 ``[M]``.
        pair: number of the (state, token) pair of each needed token, int64 ``[M, T]``.
        kl: number of the distribution read at each needed token (0 where none is), int64 ``[M, T]``.
        has_kl: where one is, bool ``[M, T]``.
        last: number of the kept state that predicts the last needed token, int64 ``[M]``.
        span: tokens inside spans, bool ``[M, T]``.
        response: False at padding, bool ``[M, T]``.
        sentence: tokens of kept sentences, bool ``[M, T]``, or None.
        weights: factors of tokens, float64 ``[M, T]``, or None.
        facts: numbers of each sequence, float64 ``[M]``.
    """

    owner: Tensor
    pair: Tensor
    kl: Tensor
    has_kl: Tensor
    last: Tensor
    span: Tensor
    response: Tensor
    sentence: Tensor | None
    weights: Tensor | None
    facts: dict[str, Tensor]


@dataclass(frozen=True)
class _Entry:
    """One sequence with the numbers of its results."""

    owner: int
    answer: Answer
    pair: list[int]
    kl: list[int]
    last: int


def read_back(
    units: Sequence[Unit], rows: Sequence[TreeRow], device: torch.device
) -> tuple[dict[str, Index], Tensor, Tensor]:
    """Indices by sequence name, all (state, token) pairs ``[2, P]`` and all distributions ``[K]`` of the rows."""
    found: dict[int, tuple[list[int], list[int], int]] = {}
    pairs, kls = [], []
    states = pair_count = kl_count = 0
    for row in rows:
        reading = row.reading
        state = {node: states + i for i, node in enumerate(reading.nodes.tolist())}
        pair = {two: pair_count + i for i, two in enumerate(zip(*reading.pairs.tolist(), strict=True))}
        kl = {node: kl_count + i for i, node in enumerate(reading.kl.tolist())}
        for answer, nodes in zip(row.answers, row.predictors, strict=True):
            numbers = [pair[node, answer.ids[t]] for node, t in zip(nodes, answer.needed, strict=True)]
            found[id(answer)] = (numbers, [kl.get(node, 0) for node in nodes], state[nodes[-1]] if nodes else 0)
        pairs += [(state[node], token) for node, token in pair]
        kls += [state[node] for node in kl]
        states, pair_count, kl_count = states + len(state), pair_count + len(pair), kl_count + len(kl)
    entries: dict[str, list[_Entry]] = {}
    for owner, unit in enumerate(units):
        for answer in unit.answers:
            entries.setdefault(answer.name, []).append(_Entry(owner, answer, *found[id(answer)]))
    index = {name: _index(group, device) for name, group in entries.items()}
    both = torch.tensor(pairs, dtype=torch.long, device=device).reshape(-1, 2).T
    return index, both, torch.tensor(kls, dtype=torch.long, device=device)


def _index(entries: list[_Entry], device: torch.device) -> Index:
    answers = [entry.answer for entry in entries]
    width = max(len(answer.needed) for answer in answers)

    def padded(lists: Sequence[Sequence[float]], kind: type) -> Tensor:
        made: np.ndarray = np.zeros((len(lists), width), dtype=kind)
        for i, values in enumerate(lists):
            made[i, : len(values)] = values
        return torch.from_numpy(made).to(device)

    sentence = [answer.sentence for answer in answers] if any(a.sentence for a in answers) else None
    weights = [answer.weights for answer in answers] if any(a.weights for a in answers) else None
    return Index(
        torch.tensor([entry.owner for entry in entries], device=device),
        padded([entry.pair for entry in entries], np.int64),
        padded([entry.kl for entry in entries], np.int64),
        padded([answer.kl for answer in answers], bool),
        torch.tensor([entry.last for entry in entries], device=device),
        padded([answer.span for answer in answers], bool),
        padded([[True] * len(answer.needed) for answer in answers], bool),
        None if sentence is None else padded(sentence, bool),
        None if weights is None else padded(weights, float),
        {
            name: torch.tensor([answer.facts[name] for answer in answers], dtype=torch.float64, device=device)
            for name in answers[0].facts
            if all(name in answer.facts for answer in answers)
        },
    )
