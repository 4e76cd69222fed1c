"""The last decoder layer works on the positions that are read, and on no other.

Behind the last layer only the kept states are looked at. Queries, attention output and MLP of that layer are
computed token by token, so that they can leave out all other positions; keys and values cannot. Of a layer's
linear work that is nine tenths: a tenth of a step of an eight-layer model, a fortieth of one of 36 layers.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from typing import Any

from torch import Tensor, nn

MLP_PARTS = ("gate_proj", "gate_up_proj", "up_proj", "fc1")
"""A dense MLP has one of these; experts have routers that look at their input's shape."""


class LastLayer:
    """Narrows the last layer of a decoder for one forward pass at a time.

    Args:
        decoder: the language model, ``layers`` in order; one without such is never narrowed.
    """

    def __init__(self, decoder: nn.Module) -> None:
        self.decoder = decoder
        self._places: Tensor | None = None

    @contextmanager
    def narrowed(self, keep: Tensor) -> Iterator[None]:
        """Inside the block compute only the positions ``keep`` (bool [B, S])."""
        for module in self._modules():
            if not isinstance(module.forward, _Narrowed):
                module.forward = _Narrowed(self._narrowed, module.forward)
        # Never one row alone: 4-bit layers multiply a single row in another way, with other rounding.
        keep = keep.clone()
        keep[:, 0] = True
        with self._at(keep.flatten().nonzero()[:, 0]):
            yield

    def again(self) -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        """For gradient checkpointing: what surrounds a layer now, and when it is computed again."""
        return nullcontext(), self._at(self._places)

    @contextmanager
    def _at(self, places: Tensor | None) -> Iterator[None]:
        """Inside the block compute only these flat indices into ``[B S]``; None: everything."""
        before, self._places = self._places, places
        try:
            yield
        finally:
            self._places = before

    def _modules(self) -> list[Any]:
        layers: Any = getattr(self.decoder, "layers", None)
        if not isinstance(layers, nn.ModuleList) or not len(layers):
            return []
        attention, mlp = getattr(layers[-1], "self_attn", None), getattr(layers[-1], "mlp", None)
        found = [getattr(attention, name, None) for name in ("q_proj", "o_proj")]
        dense = any(hasattr(mlp, name) for name in MLP_PARTS)
        return [module for module in [*found, mlp if dense else None] if module is not None]

    def _narrowed(self, forward: Callable[..., Tensor], states: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        """``forward`` of the chosen positions, zeros elsewhere; states are ``[B, S, H]``."""
        if self._places is None:
            return forward(states, *args, **kwargs)
        rows = forward(states.flatten(0, 1)[self._places][None], *args, **kwargs)[0]
        whole = rows.new_zeros(states.shape[:2].numel(), rows.shape[-1])
        return whole.index_copy(0, self._places, rows).view(*states.shape[:2], -1)


class _Narrowed(partial):  # type: ignore[type-arg]
    """Marks a forward that is narrowed already."""
