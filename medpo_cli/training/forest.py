"""Shared prefixes: many token sequences as one trie, written down in depth-first order.

One integer per node, ``end`` (where its subtree stops), says who may attend to whom: node q sees node k
exactly when ``k <= q < end[k]``, that is when k is q itself or one of its ancestors. Under that mask a
causal model computes at every node what it would compute in each plain sequence running through it.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Forest:
    """A trie in depth-first order.

    Attributes:
        keys: the key of every node.
        end: for every node the index behind the last node of its subtree.
        paths: for every sequence the node of each of its positions.
    """

    keys: list[Hashable]
    end: list[int]
    paths: list[list[int]]


def grow(sequences: Sequence[Sequence[Hashable]]) -> Forest:
    """The forest of ``sequences``: equal prefixes become one branch, in order of first appearance."""
    children: list[dict[Hashable, int]] = [{}]
    raw_paths = [_insert(children, sequence) for sequence in sequences]
    keys: list[Hashable] = []
    parents: list[int] = []
    number: dict[int, int] = {0: -1}
    stack = [(key, 0, child) for key, child in reversed(children[0].items())]
    while stack:
        key, parent, node = stack.pop()
        number[node] = len(keys)
        keys.append(key)
        parents.append(number[parent])
        stack.extend((key, node, child) for key, child in reversed(children[node].items()))
    end = list(range(1, len(keys) + 1))
    for node in range(len(keys) - 1, -1, -1):
        if parents[node] >= 0:
            end[parents[node]] = max(end[parents[node]], end[node])
    return Forest(keys, end, [[number[node] for node in path] for path in raw_paths])


def _insert(children: list[dict[Hashable, int]], sequence: Sequence[Hashable]) -> list[int]:
    """Walk ``sequence`` down from the root (node 0), adding what is missing; the nodes passed."""
    node, path = 0, []
    for key in sequence:
        below = children[node]
        if key not in below:
            below[key] = len(children)
            children.append({})
        node = below[key]
        path.append(node)
    return path


def attention_mask(end: Tensor) -> Tensor:
    """Who sees whom, for scaled dot-product attention: True where query q may see key k.

    Args:
        end: ``[B, S]``; padding nodes hold their own index plus one and so see and are seen by themselves only.

    Returns:
        bool ``[B, 1, S, S]`` (queries, then keys).
    """
    index = torch.arange(end.shape[1], device=end.device)
    behind = index[None, :] <= index[:, None]
    inside = index[None, :, None] < end[:, None, :]
    return (behind & inside)[:, None]
