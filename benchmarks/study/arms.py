"""The compared methods, and what each learns from. All pairs are of the same answers of the same base.

Preference methods run at one learning rate (3e-4) and beta .5, those with a likelihood term at 1e-3: the
best of a small search on validation phantoms (the paper's beta .1 and 1e-6 belong to another model size).
"""

from typing import Any

from study.runs import Arm

PREFERENCE: dict[str, Any] = {"beta": 0.5, "lr": 3e-4}
FIRE: dict[str, Any] = {"method": "fire-mpo", "gamma": 0.1, "alpha": 0.01, **PREFERENCE}

METHODS = [
    Arm("sft on edits", "pairs.jsonl", {"method": "sft", "lr": 1e-3}),
    Arm("dpo on references", "references.jsonl", {"method": "dpo", **PREFERENCE}),
    Arm("dpo on edits", "pairs.jsonl", {"method": "dpo", **PREFERENCE}),
    Arm("rrpo", "pairs.jsonl", {"method": "rrpo", **PREFERENCE}),
    Arm("mask-dpo", "pairs.jsonl", {"method": "mask-dpo", **PREFERENCE}),
    Arm("mdpo, crops", "pairs.crop.jsonl", {"method": "mdpo", **PREFERENCE}),
    Arm("fire-mpo, paper noise", "pairs.noise.jsonl", FIRE),
    Arm("fire-mpo, default v'", "pairs.v.jsonl", FIRE),
]
"""In the order of the table; the base stands before them."""
