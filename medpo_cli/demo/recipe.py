"""The settings that suit the embedded model.

Chosen on validation images (docs/results.md). They stand in for settings that the user left alone when
no model is named; a model of one million parameters wants a larger learning rate than a real one.
"""

from typing import Any

SETTINGS: dict[str, dict[str, Any]] = {
    "align": {
        "beta": 0.5,
        "gamma": 0.5,
        "alpha": 0.01,
        "nll": 4.0,
        "rank": 16,
        "lora_alpha": 32.0,
        "lr": 1e-3,
    },
    "sample": {"batch": 64, "max_tokens": 128},
    "eval": {"batch": 64, "max_tokens": 128},
}
OBJECTIVE = frozenset({"beta", "gamma", "alpha", "nll"})
"""Settings of the default objective: no use to a method or terms that the user names."""
