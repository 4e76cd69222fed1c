"""The optimizer and the float32 masters of what it trains.

A bfloat16 adapter cannot take a step of 1e-6: its values are some 1e-2 and have 8 bits, so that the sum
rounds back. Here a bfloat16 model computes with bfloat16 copies while gradients are summed, clipped and
applied in float32. A float32 or float64 model trains its parameters themselves.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.lora import round_adapters
from medpo_cli.models.optim import make_adamw


class MasterOptimizer:
    """AdamW over the trainable parameters of a model.

    Args:
        vlm: a model with float32 (float64) adapters; they become bfloat16 if it computes in bfloat16.
        kind: ``adamw`` or ``adamw8bit``.
        lr: learning rate.

    Attributes:
        masters: what is trained, by the parameter's full name: holds values and, after a backward pass, gradients.
    """

    def __init__(self, vlm: VisionLanguageModel, kind: str, lr: float) -> None:
        self.working = {name: p for name, p in vlm.model.named_parameters() if p.requires_grad}
        self.masters: dict[str, nn.Parameter] = dict(self.working)
        if vlm.dtype == torch.bfloat16:
            full = {name: p.detach().clone() for name, p in self.working.items()}
            round_adapters(vlm)  # and nothing else: an auxiliary head stays in float32 and is its own master
            for name, p in self.working.items():
                if p.dtype == torch.bfloat16:
                    self.masters[name] = nn.Parameter(full[name].float())
                    p.register_post_accumulate_grad_hook(_feed(self.masters[name]))
        self.inner = make_adamw(kind, list(self.masters.values()), lr)

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Learning rates, as in every torch optimizer."""
        return self.inner.param_groups

    def zero_grad(self) -> None:
        """Forget all gradients."""
        self.inner.zero_grad(set_to_none=True)

    def step(self) -> None:
        """Move the masters along their gradients and round the working copies from them."""
        self.inner.step()
        self._publish()

    @torch.no_grad()
    def _publish(self) -> None:
        for name, p in self.working.items():
            if p is not self.masters[name]:
                p.copy_(self.masters[name])

    def settle(self) -> None:
        """Training is over: the model holds the masters from now on, so that they are what is saved."""
        for name, p in self.working.items():
            p.data = self.masters[name].data

    def state(self) -> dict[str, Tensor]:
        """All that a resumed run needs, as CPU tensors: ``adapter/NAME`` and ``optimizer/NUMBER/KEY``."""
        tensors = {f"adapter/{name}": p.detach().cpu().contiguous() for name, p in self.masters.items()}
        for number, p in enumerate(self.masters.values()):
            for key, value in self.inner.state.get(p, {}).items():
                # Cloned: the tables of the 8-bit code are one tensor for all parameters.
                tensors[f"optimizer/{number}/{key}"] = torch.as_tensor(value).detach().cpu().contiguous().clone()
        return tensors

    @torch.no_grad()
    def load(self, tensors: dict[str, Tensor]) -> None:
        """Take over what ``state`` gave, bit by bit."""
        numbered = list(self.masters.values())
        for name, p in self.masters.items():
            p.copy_(tensors[f"adapter/{name}"])
        self.inner.state.clear()
        for name, value in tensors.items():
            kind, _, rest = name.partition("/")
            if kind == "optimizer":
                number, _, key = rest.partition("/")
                p = numbered[int(number)]
                self.inner.state[p][key] = _slot(key, value, p.device)
        self._publish()


def _feed(master: nn.Parameter) -> Callable[[Tensor], None]:
    """A hook that adds a working copy's gradient to its master's, in float32, and drops it."""

    def hook(working: Tensor) -> None:
        assert working.grad is not None  # noqa: S101
        gradient = working.grad.float()
        master.grad = gradient if master.grad is None else master.grad.add_(gradient)
        working.grad = None

    return hook


def _slot(key: str, value: Tensor, device: torch.device) -> Any:
    """One value of the optimizer's state as it was: bitsandbytes counts steps in a Python integer."""
    if value.dtype == torch.int64:
        return int(value)
    fused = device.type == "cuda"  # then torch keeps its step count on the GPU
    return value if key == "step" and not fused else value.to(device)
