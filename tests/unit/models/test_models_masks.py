"""Tree masks against brute force over the answers that run through them."""

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from medpo_cli.models.family import masks
from medpo_cli.training.forest import grow

words = st.lists(st.text("abI", max_size=8), min_size=1, max_size=5)
"""``I`` is an image token."""


def test_a_window_counts_ancestors_not_nodes() -> None:
    # a b c d   and   a b e: the trie a-b-(c-d | e), written a b c d e. e is the third token of its answer.
    end = torch.tensor([grow(["abcd", "abe"]).end])
    seen = masks.tree(end)
    two = (seen & masks.near(seen, 2))[0, 0]
    assert two[3].tolist() == [False, False, True, True, False]  # d sees c and itself
    assert two[4].tolist() == [False, True, False, False, True]  # e sees b, three nodes before it, and itself


def test_image_tokens_of_one_run_see_each_other() -> None:
    is_image = torch.tensor([[False, True, True, False, True]])
    blocks = masks.image_blocks(is_image, torch.tensor([[5, 5, 5, 5, 5]]))[0, 0]
    assert blocks.nonzero().tolist() == [[1, 1], [1, 2], [2, 1], [2, 2], [4, 4]]


def test_neighbours_in_two_branches_are_two_runs() -> None:
    # x I   and   y I would be written x I y I; cut to I and I of two one-token rows: neighbours, not one image.
    is_image = torch.tensor([[True, True]])
    assert masks.image_blocks(is_image, torch.tensor([[1, 2]]))[0, 0].tolist() == [[True, False], [False, True]]
    assert masks.image_blocks(is_image, torch.tensor([[2, 2]]))[0, 0].tolist() == [[True, True], [True, True]]


def test_padding_sees_itself_and_nothing_else() -> None:
    end = torch.tensor([[2, 2, 3, 4]])
    seen = masks.tree(end)
    allowed = seen | masks.image_blocks(torch.tensor([[True, True, False, False]]), end)
    for mask in (allowed, allowed & masks.near(seen, 1)):
        assert mask[0, 0, 2:].tolist() == [[False, False, True, False], [False, False, False, True]]


@settings(max_examples=200, deadline=None)
@given(words, st.integers(1, 5))
def test_each_answer_sees_what_it_would_see_alone(sequences: list[str], window: int) -> None:
    forest = grow(sequences)
    end = torch.tensor([forest.end or []], dtype=torch.long).reshape(1, -1)
    seen = masks.tree(end)
    near = masks.near(seen, window)[0, 0]
    for path in forest.paths:
        for i, query in enumerate(path):
            for j, key in enumerate(path[: i + 1]):
                assert bool(seen[0, 0, query, key])
                assert bool(near[query, key]) == (i - j < window)
