"""Small models and pairs held in memory, shared by the training tests."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from data import tiny_families

from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.lora import add_lora
from medpo_cli.models.tiny import build_llava, build_qwen2_5_vl
from medpo_cli.schema.objectives import Term
from medpo_cli.schema.records import Corrupted, ImageRef, Pair, RegionProof, Span
from medpo_cli.training.batches import Example
from medpo_cli.training.encoder import Encoder
from medpo_cli.training.engine import Engine
from medpo_cli.training.features import FeatureCache
from medpo_cli.training.reference import Reference

QUESTION = "Is there a pleural effusion?"
REPORT = "Describe the findings on this chest image."
BUILDERS = {"llava": build_llava, "qwen2_5_vl": build_qwen2_5_vl, **tiny_families.BUILDERS}


def picture(ref: ImageRef, _field: str = "$.image") -> np.ndarray:
    """A random 32 x 32 picture that depends on the reference's path alone."""
    return np.random.default_rng(list(ref.path.encode())).integers(0, 256, (32, 32, 3), dtype=np.uint8)


def corrupted(path: str) -> Corrupted:
    proof = RegionProof(
        mask="0" * 64, voxels=4, fraction=0.1, changed=1.0, outside="0" * 64, contrast_before=9.0, contrast_after=0.0
    )
    return Corrupted(image=ImageRef(path=path), operator="none", parameters={}, seed=0, region=proof, route="lesion")


def make_pair(
    name: str, prompt: str, chosen: str, rejected: str, *words: tuple[str, str], image: str, bad: str = ""
) -> Pair:
    """A pair whose spans are the given words, chosen and rejected, at their first occurrence."""
    spans = []
    for left, right in words:
        a, b = chosen.index(left), rejected.index(right)
        spans.append(
            Span(kind="other", chosen=(a, a + len(left)), rejected=(b, b + len(right)), source="rule", confidence=1.0)
        )
    return Pair(
        id=name,
        image=ImageRef(path=image),
        prompt=prompt,
        task="report",
        chosen=chosen,
        rejected=rejected,
        origin="corrected",
        spans=spans,
        corrupted=corrupted(bad) if bad else None,
    )


YES = "Yes, there is a small left pleural effusion."
PAIRS = [
    # one token against one
    make_pair("one", QUESTION, YES, YES.replace("left", "right"), ("left", "right"), image="a.png", bad="b.png"),
    # three words against two, under the same image and another question, same corrupted image
    make_pair(
        "many", REPORT, "There is no pleural effusion.", "There is a pleural effusion and a nodule.",
        ("no pleural effusion", "a pleural effusion and a nodule"), image="a.png", bad="b.png",
    ),
    # two spans, one at the start of the answer; no corrupted image
    make_pair(
        "start", QUESTION, "Yes, there is a small effusion.", "No, there is a normal effusion.",
        ("Yes", "No"), ("small", "normal"), image="c.png",
    ),
    # the first token of the span is the same on both sides
    make_pair(
        "equal", REPORT, "The heart is normal in size.", "The heart is normal on the right.",
        ("normal in size", "normal on the right"), image="d.png", bad="e.png",
    ),
    # a pure insertion: nothing to mask on the rejected side
    make_pair(
        "insertion", REPORT, "There is a small nodule.", "There is a nodule.",
        ("small ", ""), image="f.png", bad="g.png",
    ),
]  # fmt: skip


def tiny(kind: str, dtype: torch.dtype = torch.float32, *, adapted: bool = True) -> VisionLanguageModel:
    """A tiny model with adapters; ``adapted``: B is random instead of 0."""
    model, processor = BUILDERS[kind]()
    model = model.to(dtype).requires_grad_(False)
    if dtype == torch.float64:
        keep_float64(model)
    vlm = VisionLanguageModel(model, processor, name=kind, digest="0" * 64)
    add_lora(vlm, rank=4, alpha=8.0, seed=0)
    if adapted:
        generator = torch.Generator().manual_seed(1)
        for name, parameter in vlm.model.named_parameters():
            if "lora_B" in name:
                parameter.data = 0.2 * torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
    return vlm


def keep_float64(model: Any) -> None:
    """RMS norms compute in float32 whatever they get: give them a float64 form, for exactness tests."""

    def forward(self: Any, x: torch.Tensor) -> torch.Tensor:
        gemma = hasattr(self, "eps")
        epsilon, weight = (self.eps, 1.0 + self.weight) if gemma else (self.variance_epsilon, self.weight)
        return weight * x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + epsilon)

    for module in model.modules():
        if type(module).__name__.endswith("RMSNorm"):
            module.forward = forward.__get__(module)


def encode(vlm: VisionLanguageModel, terms: Sequence[Term], pairs: Sequence[Pair]) -> tuple[Encoder, list[Example]]:
    encoder = Encoder(vlm, terms, picture)
    return encoder, [encoder.example(pair, number) for number, pair in enumerate(pairs)]


def engine(
    vlm: VisionLanguageModel, terms: Sequence[Term], encoder: Encoder, *, forest: bool, limit: int = 0
) -> Engine:
    cache = FeatureCache(vlm, encoder.encode_prompt)
    return Engine(vlm, terms, cache, Reference(vlm, limit), Accelerator(cpu=True), forest=forest)


def gradients(vlm: VisionLanguageModel) -> dict[str, torch.Tensor]:
    """Gradients of all adapters, taken away from them."""
    found = {}
    for name, parameter in vlm.model.named_parameters():
        if parameter.requires_grad:
            assert parameter.grad is not None, name
            found[name] = parameter.grad
            parameter.grad = None
    return found
