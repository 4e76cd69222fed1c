"""Step records made by hand."""

from typing import Any

from medpo_cli.schema.records import Step


def step(number: int, **changes: Any) -> Step:
    """Step ``number`` of a dull run."""
    fields: dict[str, Any] = {
        "step": number,
        "epoch": number / 10,
        "loss": 0.7,
        "terms": {"rank": 0.69, "kl": 0.01, "logps/chosen": -3.0, "logps/rejected": -9.0},
        "rewards": {"chosen": 0.2, "rejected": -0.3},
        "margin": 0.5,
        "accuracy": 0.75,
        "grad_norm": 1.0,
        "lr": 1e-3,
        "tokens": 100,
        "seconds": 0.1,
        "peak_bytes": 1,
    }
    return Step(**fields | changes)
