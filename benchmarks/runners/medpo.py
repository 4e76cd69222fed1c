"""medpo's engine, driven as ``medpo align`` drives it. Every call into medpo that may change stands here."""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from child import start_adapters, train

from medpo_cli.imaging.window import load_view
from medpo_cli.io.context import Context
from medpo_cli.models.load import load_model
from medpo_cli.models.lora import add_lora
from medpo_cli.schema.records import Corrupted, ImageRef, Pair, RegionProof, Span
from medpo_cli.training.encoder import Encoder
from medpo_cli.training.engine import Engine
from medpo_cli.training.features import FeatureCache
from medpo_cli.training.objectives.methods import resolve
from medpo_cli.training.reference import Reference
from runners.data import read_pairs

PROOF = RegionProof(
    mask="0" * 64, voxels=4, fraction=0.1, changed=1.0, outside="0" * 64, contrast_before=9.0, contrast_after=0.0
)
SETTINGS: dict[str, dict[str, Any]] = {
    "fire-mpo": {"beta": 0.1, "gamma": 0.1, "alpha": 0.01, "kl_forward": 0.5},
    "dpo": {"beta": 0.1},
}
EVERYTHING = 2**34
"""Bytes of a cache that never drops anything."""


class Medpo:
    """Engine, examples and the loss of a step.

    Args:
        job: ``model``, ``pairs``, ``batch``, ``rank``, ``device``, ``dtype``, ``quantize``, ``method`` and what is
            ``cached``: a list of ``reference`` and ``features``.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        self.vlm = load_model(job["model"], device=job["device"], dtype=job["dtype"], quantize=job["quantize"])
        add_lora(self.vlm, rank=job["rank"], alpha=2.0 * job["rank"])
        start_adapters(self.vlm.base)
        self.parameters = [p for p in self.vlm.model.parameters() if p.requires_grad]
        self.batch = job["batch"]
        terms = resolve(job["method"], **SETTINGS[job["method"]])
        context = Context(Path(job["pairs"]))
        encoder = Encoder(self.vlm, terms, lambda ref, field: load_view(ref, context, field))
        pairs = [to_pair(one) for one in read_pairs(job["pairs"])]
        self.examples = [encoder.example(pair, number) for number, pair in enumerate(pairs)]
        features = FeatureCache(self.vlm, encoder.encode_prompt, EVERYTHING if "features" in job["cached"] else 0)
        reference = Reference(self.vlm, EVERYTHING if "reference" in job["cached"] else 0)
        self.engine = Engine(self.vlm, terms, features, reference, Accelerator(cpu=job["device"] == "cpu"), forest=True)
        if job["cached"]:
            self._fill()

    def step(self, number: int) -> float:
        """Loss of step ``number``; gradients are added."""
        batch = self._batch(number)
        tally = self.engine.accumulate(batch, 1 / len(batch))
        return float(tally.sums["loss"]) / len(batch)

    def _batch(self, number: int) -> list[Any]:
        return [self.examples[(number * self.batch + i) % len(self.examples)] for i in range(self.batch)]

    def _fill(self) -> None:
        """What an earlier epoch has left in the caches."""
        for number in range(len(self.examples) // self.batch):
            self.engine.recall(self._batch(number))


def to_pair(one: dict[str, Any]) -> Pair:
    """A record of the benchmark as medpo's own."""
    bad = Corrupted(
        image=ImageRef(path=one["corrupted"]), operator="none", parameters={}, seed=0, region=PROOF, route="lesion"
    )
    spans = [Span(kind="side", chosen=s["chosen"], rejected=s["rejected"], source="rule") for s in one["spans"]]
    return Pair(
        id=one["id"], image=ImageRef(path=one["image"]), prompt=one["prompt"], task="vqa-open", chosen=one["chosen"],
        rejected=one["rejected"], origin="corrected", spans=spans, corrupted=bad,
    )  # fmt: skip


if __name__ == "__main__":
    torch.set_num_threads(1)
    wanted = json.loads(sys.argv[1])
    medpo = Medpo(wanted)
    train(wanted, medpo.parameters, medpo.step)
