"""The prefix forest against brute force."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medpo_cli.models.family.masks import tree
from medpo_cli.training.forest import grow


def test_two_answers_to_one_question() -> None:
    # a b c d   and   a b e: the trie is a-b-(c-d | e); depth-first a b c d e.
    forest = grow(["abcd", "abe"])
    assert forest.keys == list("abcde")
    assert forest.end == [5, 5, 4, 4, 5]
    assert forest.paths == [[0, 1, 2, 3], [0, 1, 4]]
    seen = tree(torch.tensor([forest.end]))[0, 0]
    assert seen[4].tolist() == [True, True, False, False, True]  # e sees a, b and itself, not c, d
    assert seen[3].tolist() == [True, True, True, True, False]


def test_prefix_of_another_and_duplicates_and_separate_roots() -> None:
    forest = grow(["ab", "abc", "ab", "xb", ""])
    assert forest.keys == list("abcxb")
    assert forest.paths == [[0, 1], [0, 1, 2], [0, 1], [3, 4], []]
    assert forest.end == [3, 3, 3, 5, 5]


def test_deep_sequences_do_not_recurse() -> None:
    forest = grow([range(5000), [*range(4999), -1]])
    assert len(forest.keys) == 5001
    assert forest.end[0] == 5001


def test_padding_sees_only_itself() -> None:
    seen = tree(torch.tensor([[2, 2, 3, 4]]))[0, 0]
    assert seen.tolist() == [
        [True, False, False, False],
        [True, True, False, False],
        [False, False, True, False],
        [False, False, False, True],
    ]


words = st.lists(st.text("ab", max_size=7), min_size=1, max_size=6)


@settings(max_examples=200, deadline=None)
@given(words)
def test_sees_exactly_its_prefix(sequences: list[str]) -> None:
    forest = grow(sequences)
    prefixes = {word[: i + 1] for word in sequences for i in range(len(word))}
    assert len(forest.keys) == len(prefixes)  # every distinct prefix is one node
    seen = tree(torch.tensor([forest.end or []], dtype=torch.long).reshape(1, -1))[0, 0]
    for word, path in zip(sequences, forest.paths, strict=True):
        assert [forest.keys[node] for node in path] == list(word)
        for i, node in enumerate(path):
            assert seen[node].nonzero().flatten().tolist() == path[: i + 1]
