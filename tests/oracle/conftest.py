"""Skips the oracle tests where TRL is not installed, and prints how closely both sides agreed."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

AGREEMENT: dict[str, tuple[float, float]] = {}
"""By row: largest difference of the loss and of the gradient, relative to what is compared where that exceeds 1."""
Check = Callable[..., None]


@pytest.fixture(autouse=True)
def _needs_trl() -> None:
    pytest.importorskip("trl", reason="TRL is not installed: `make oracle` builds the environment of these tests")


def _distance(found: Tensor, wanted: Tensor) -> float:
    """Largest difference, relative where the values exceed 1."""
    found, wanted = found.detach().double(), wanted.detach().double()
    return float((found - wanted).abs().max() / wanted.abs().max().clamp_min(1.0))


@pytest.fixture
def agree() -> Check:
    """Asserts that two losses, and their gradients, agree within a bound, and notes the distance under a name."""

    def check(
        name: str, found: Tensor, wanted: Tensor, bound: float, gradients: list[tuple[Tensor, Tensor]] | None = None
    ) -> None:
        value = _distance(found, wanted)
        slope = max((_distance(mine, other) for mine, other in gradients or []), default=float("nan"))
        before = AGREEMENT.get(name, (0.0, slope))
        AGREEMENT[name] = (max(before[0], value), max(before[1], slope))
        assert torch.isfinite(found).all()
        assert value <= bound, f"{name}: {float(found.max())} is not {float(wanted.max())}"
        assert not gradients or slope <= bound, f"{name}: gradients differ by {slope}"

    return check


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if AGREEMENT:
        terminalreporter.write_line("medpo against TRL: largest difference of the loss, of the gradient")
    for name, (value, slope) in AGREEMENT.items():
        terminalreporter.write_line(f"  {name:<58} {value:.1e}  {'' if math.isnan(slope) else f'{slope:.1e}'}".rstrip())
