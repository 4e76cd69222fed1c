"""Who may attend to whom in rows that hold trees of answers (see ``training/forest.py``), as boolean masks.

All functions take and give tensors on one device; masks are ``[B, 1, S, S]``: batch, heads, queries, keys.
"""

import torch
from torch import Tensor
from torch.nn.functional import pad


def tree(end: Tensor) -> Tensor:
    """True where query q may see key k: ``k <= q < end[k]``, that is k is q itself or one of its ancestors.

    Args:
        end: ``[B, S]``, the index behind each node's subtree; padding nodes hold their own index plus one and
            so see and are seen by themselves only.
    """
    index = torch.arange(end.shape[1], device=end.device)
    behind = index[None, :] <= index[:, None]
    inside = index[None, :, None] < end[:, None, :]
    return (behind & inside)[:, None]


def near(seen: Tensor, window: int) -> Tensor:
    """True where the key lies fewer than ``window`` tokens before the query in every answer through both.

    A node's place in its answer is the number of its ancestors: neither its index in the row nor, with
    M-RoPE, its position.

    Args:
        seen: what ``tree`` gives.
        window: tokens, the query itself included.
    """
    depth = seen.sum(-1, dtype=torch.int32)
    return depth[..., :, None] - depth[..., None, :] < window


def image_blocks(is_image: Tensor, end: Tensor) -> Tensor:
    """True where query and key are placeholders of one run in one branch, in either order.

    Args:
        is_image: bool ``[B, S]``, true at image placeholders.
        end: as for ``tree``.
    """
    index = torch.arange(end.shape[1], device=end.device)
    follows = pad(is_image[:, :-1] & (end[:, :-1] > index[1:]), (1, 0))
    block = (is_image & ~follows).cumsum(1)
    same = block[:, :, None] == block[:, None, :]
    return (same & is_image[:, :, None] & is_image[:, None, :])[:, None]
