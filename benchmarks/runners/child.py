"""Shared by the children that medpo's own driver writes: steps, and memory above the resting process."""

import gc
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch


def train(job: dict[str, Any], parameters: list[torch.nn.Parameter], step: Callable[[int], float]) -> None:
    """Run ``job["steps"]`` optimizer steps and write what was measured to ``job["result"]``.

    Args:
        job: what the driver asked for.
        parameters: the trained ones.
        step: adds the gradients of step i and gives its loss.
    """
    cuda = job["device"] == "cuda"
    optimizer = torch.optim.AdamW(parameters, lr=1e-6, weight_decay=0.0)
    gc.collect()
    if cuda:
        torch.cuda.reset_peak_memory_stats()
    rest = _rest(cuda)
    losses, norms, seconds = [], [], []
    for number in range(job["steps"]):
        began = time.perf_counter() if cuda else time.process_time()
        losses.append(step(number))
        norms.append(float(torch.nn.utils.clip_grad_norm_(parameters, 1.0)))
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if cuda:
            torch.cuda.synchronize()
        seconds.append((time.perf_counter() if cuda else time.process_time()) - began)
    found = {"losses": losses, "norms": norms, "seconds": seconds, "rest_bytes": rest, "peak_bytes": _peak(cuda)}
    Path(job["result"]).write_text(json.dumps(found))


def _rest(cuda: bool) -> int:
    """Memory in use before the first step; the high-water mark starts again from here."""
    if cuda:
        return torch.cuda.memory_allocated()
    Path("/proc/self/clear_refs").write_text("5")
    return _status("VmRSS")


def _peak(cuda: bool) -> int:
    return torch.cuda.max_memory_allocated() if cuda else _status("VmHWM")


def _status(key: str) -> int:
    """A field of /proc/self/status, bytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(key + ":"))


def start_adapters(model: torch.nn.Module) -> None:
    """The same A and small B everywhere, so that policy and reference differ and every gradient exists."""
    for number, (name, parameter) in enumerate(sorted(model.named_parameters(), key=lambda item: item[0])):
        if "lora_" in name:
            draw = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number))
            parameter.data.copy_(draw * (0.02 if "lora_B" in name else parameter.shape[1] ** -0.5))
