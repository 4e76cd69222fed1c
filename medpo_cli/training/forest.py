"""Shared prefixes: many token sequences as one trie, written down in depth-first order.

One integer per node, ``end`` (where its subtree stops), says who may attend to whom: node q sees node k
exactly when ``k <= q < end[k]``, that is when k is q itself or one of its ancestors. Under that mask, which
``models/family/masks.py`` makes, a causal model computes at every node what it would compute in each plain
sequence running through it.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass


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


@dataclass
class _Chain:
    """Nodes ``start .. stop`` without a branch; they all share one end."""

    start: int
    stop: int
    above: int
    end: int = 0


def grow(sequences: Sequence[Sequence[Hashable]]) -> Forest:
    """The forest of ``sequences``: equal prefixes become one branch, in order of first appearance."""
    sequences = [list(sequence) for sequence in sequences]  # slices of one type compare by content
    keys: list[Hashable] = []
    paths: list[list[int]] = [[] for _ in sequences]
    chains: list[_Chain] = []
    waiting = [(group, 0, -1) for group in _branches(sequences, range(len(sequences)), 0)]
    while waiting:
        members, depth, above = waiting.pop()
        stop = _common_length(sequences, members)
        start = len(keys)
        keys.extend(sequences[members[0]][depth:stop])
        chains.append(_Chain(start, len(keys), above))
        for member in members:
            paths[member].extend(range(start, len(keys)))
        waiting += [(group, stop, len(chains) - 1) for group in _branches(sequences, members, stop)]
    for chain in reversed(chains):
        chain.end = max(chain.end, chain.stop)
        if chain.above >= 0:
            chains[chain.above].end = max(chains[chain.above].end, chain.end)
    return Forest(keys, [chain.end for chain in chains for _ in range(chain.start, chain.stop)], paths)


def _branches(sequences: Sequence[Sequence[Hashable]], members: Sequence[int], depth: int) -> list[list[int]]:
    """Members that go on beyond ``depth``, by their next key; the first to appear last (a stack)."""
    groups: dict[Hashable, list[int]] = {}
    for member in members:
        if len(sequences[member]) > depth:
            groups.setdefault(sequences[member][depth], []).append(member)
    return list(reversed(groups.values()))


def _common_length(sequences: Sequence[Sequence[Hashable]], members: Sequence[int]) -> int:
    """Length of the prefix that all members share, by bisection (slices compare fast)."""
    first = sequences[members[0]]
    common = len(first)
    for member in members[1:]:
        other = sequences[member]
        low, high = 0, min(common, len(other))
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if first[low:middle] == other[low:middle] else (low, middle - 1)
        common = low
    return common
