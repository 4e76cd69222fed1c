"""Seconds of one FiRe-MPO step: medpo's fast path against the naive eight-pass form, interleaved.

    OMP_NUM_THREADS=1 python benchmarks/align_step.py [--steps 6] [--batch 8] [--kind report|vqa] [--method paper]

The naive form is what the published implementation does: four forward calls of 2 B padded rows (chosen and
rejected; clean and corrupted image; policy and reference), images encoded for every row, full logits,
log-softmax over all positions. Both forms run the same pairs in one process, turn by turn, on a random
model of the demo's size (1.2 M parameters, 37 image tokens); both find their pixels prepared. CPU seconds,
medians. ``--method paper`` leaves out the likelihood term of the demo's recipe, as the paper does.
"""

import argparse
import json
import random
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from PIL import Image
from torch import Tensor

from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.lora import add_lora
from medpo_cli.models.tiny import build_llava
from medpo_cli.schema.records import Corrupted, ImageRef, Pair, RegionProof, Span
from medpo_cli.text.diff import difference
from medpo_cli.text.spans import token_mask
from medpo_cli.training.batches import Encoder
from medpo_cli.training.engine import Engine
from medpo_cli.training.objectives.methods import resolve
from medpo_cli.training.reference import FeatureCache, Reference

SENTENCES = [
    ("The heart is enlarged.", "The heart is normal in size."),
    ("There is a small nodule in the left upper zone.", "No nodule is seen."),
    ("There is a patchy opacity in the right lower zone.", "No focal opacity is seen."),
    ("There is a small left pleural effusion.", "No pleural effusion."),
    ("There is a large right pneumothorax.", "No pneumothorax."),
]
VQA = [("Yes, there is a small left pleural effusion.", "No, there is no pleural effusion.")]
PROOF = RegionProof(
    mask="0" * 64, voxels=4, fraction=0.1, changed=1.0, outside="0" * 64, contrast_before=9.0, contrast_after=0.0
)
BETA, GAMMA, ALPHA, LAMBDA = 0.5, 0.5, 0.01, 0.5


def make_pairs(count: int, kind: str) -> list[Pair]:
    """Pairs in the demo's language, one fact changed in each."""
    choice = random.Random(0)
    made = []
    for number in range(count):
        if kind == "vqa":
            prompt, (chosen, rejected) = "Is there a pleural effusion?", choice.choice(VQA)
        else:
            prompt, sides = "Describe the findings on this chest image.", [choice.randrange(2) for _ in SENTENCES]
            at = choice.randrange(len(SENTENCES))
            chosen, rejected = (
                " ".join(s[side ^ (i == at and flip)] for i, (s, side) in enumerate(zip(SENTENCES, sides, strict=True)))
                for flip in (False, True)
            )
        spans = [Span(kind="status", chosen=a, rejected=b, source="rule") for a, b in difference(chosen, rejected)]
        bad = Corrupted(
            image=ImageRef(path=f"{number}.bad"), operator="none", parameters={}, seed=0, region=PROOF, route="lesion"
        )
        made.append(
            Pair(
                id=str(number), image=ImageRef(path=f"{number}"), prompt=prompt, task="report", chosen=chosen,
                rejected=rejected, origin="corrected", spans=spans, corrupted=bad,
            )
        )  # fmt: skip
    return made


def picture(ref: ImageRef, _field: str = "") -> np.ndarray:
    """A random 96 x 96 picture."""
    return np.random.default_rng(list(ref.path.encode())).integers(0, 256, (96, 96, 3), dtype=np.uint8)


def make_model(dtype: torch.dtype) -> VisionLanguageModel:
    """A random model of the demo's size with LoRA r16."""
    sentences = [text for pair in [*SENTENCES, *VQA] for text in pair] * 20
    model, processor = build_llava(
        sentences, image_size=96, patch_size=16, vision_hidden=128, vision_layers=3, hidden=128, layers=3,
        heads=4, kv_heads=4, intermediate=256,
    )  # fmt: skip
    vlm = VisionLanguageModel(model.to(dtype).requires_grad_(False), processor, name="bench")
    add_lora(vlm, rank=16, alpha=32.0)
    for name, parameter in vlm.model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02, generator=torch.Generator().manual_seed(0))
    return vlm


class Naive:
    """Eight passes for each pair, as 2 B padded rows a call; tokens and pixels are prepared beforehand."""

    def __init__(self, vlm: VisionLanguageModel, pairs: list[Pair], nll: float) -> None:
        self.vlm, self.nll = vlm, nll
        self.ready = {(pair.id, bad): self._rows(pair, bad) for pair in pairs for bad in (False, True)}

    def _rows(self, pair: Pair, bad: bool) -> list[dict[str, Any]]:
        image = picture(pair.corrupted.image if bad and pair.corrupted else pair.images[0])
        content = [{"type": "image"}, {"type": "text", "text": pair.prompt}]
        text = self.vlm.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True
        )
        inputs = self.vlm.processor(images=[Image.fromarray(image)], text=[text], return_tensors="pt")
        rows = []
        for side in ("chosen", "rejected"):
            answer = self.vlm.encode_answer(getattr(pair, side))
            spans = [getattr(span, side) for span in pair.spans]
            inside = token_mask(answer.offsets, spans, getattr(pair, side))
            prompt = inputs["input_ids"][0]
            mask = torch.tensor([False] * len(prompt) + inside)
            rows.append({"ids": torch.cat([prompt, answer.ids]), "span": mask, "pixels": inputs["pixel_values"][0],
                         "answer": torch.arange(len(mask)) >= len(prompt)})  # fmt: skip
        return rows

    def _call(self, rows: list[dict[str, Any]]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        pad = torch.nn.utils.rnn.pad_sequence
        ids = pad([row["ids"] for row in rows], batch_first=True, padding_value=self.vlm.tokenizer.pad_token_id)
        span, answer = (pad([row[key] for row in rows], batch_first=True)[:, 1:] for key in ("span", "answer"))
        attention = pad([torch.ones_like(row["ids"]) for row in rows], batch_first=True)
        pixels = torch.stack([row["pixels"] for row in rows]).to(self.vlm.dtype)
        logits = self.vlm.model(input_ids=ids, attention_mask=attention, pixel_values=pixels).logits
        return logits[:, :-1].log_softmax(-1), ids[:, 1:], span, answer

    def _sides(self, batch: list[Pair], bad: bool) -> tuple[Tensor, ...]:
        rows = [self.ready[pair.id, bad][side] for side in (0, 1) for pair in batch]
        with torch.no_grad(), self.vlm.model.disable_adapter():
            reference, *_ = self._call(rows)
        policy, ids, span, answer = self._call(rows)
        tokens = (policy - reference).gather(-1, ids[..., None])[..., 0]
        ratio = (tokens * span).sum(-1)
        return policy, reference, ids, span, answer, ratio[: len(batch)], ratio[len(batch) :]

    def step(self, batch: list[Pair]) -> float:
        """Loss of one step; gradients are added."""
        n = len(batch)
        policy, reference, ids, span, answer, chosen, rejected = self._sides(batch, False)
        *_, bad_chosen, bad_rejected = self._sides(batch, True)
        logsigmoid = torch.nn.functional.logsigmoid
        p, r = policy[:n], reference[:n]
        kl = LAMBDA * (r.exp() * (r - p)).sum(-1) + (1 - LAMBDA) * (p.exp() * (p - r)).sum(-1)
        nll = -(p.gather(-1, ids[:n, :, None])[..., 0] * answer[:n]).sum(-1) / answer[:n].sum(-1)
        loss = -logsigmoid(BETA * (chosen - rejected)) - GAMMA * logsigmoid(BETA * (bad_rejected - bad_chosen))
        loss = (loss + ALPHA * (kl * span[:n]).sum(-1) + self.nll * nll).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()


def gradients(vlm: VisionLanguageModel) -> list[Tensor]:
    """All adapter gradients, taken away."""
    found = [p.grad for p in vlm.model.parameters() if p.requires_grad and p.grad is not None]
    vlm.model.zero_grad(set_to_none=True)
    return found


def main() -> None:
    """Measure and print one JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--steps", type=int, default=6)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--kind", choices=["report", "vqa"], default="report")
    parser.add_argument("--dtype", choices=["float32", "float64"], default="float32")
    parser.add_argument("--method", choices=["demo", "paper"], default="demo")
    chosen = parser.parse_args()
    nll = 4.0 if chosen.method == "demo" else 0.0
    terms = resolve("fire-mpo", beta=BETA, gamma=GAMMA, alpha=ALPHA, kl_forward=LAMBDA, nll=nll)
    torch.set_num_threads(1)
    vlm = make_model(getattr(torch, chosen.dtype))
    pairs = make_pairs(chosen.batch * (chosen.steps + 1), chosen.kind)
    encoder = Encoder(vlm, terms, picture)
    examples = [encoder.example(pair, number) for number, pair in enumerate(pairs)]
    naive = Naive(vlm, pairs, nll)

    prompts = {
        answer.prompt.content: answer.prompt for one in examples for unit in one.units for answer in unit.answers
    }
    pixels = {content: encoder.encode_prompt(prompt) for content, prompt in prompts.items()}

    def engine(limit: int) -> Engine:
        cache = FeatureCache(vlm, lambda prompt: pixels[prompt.content], limit)
        return Engine(vlm, terms, cache, Reference(vlm, terms, limit), Accelerator(cpu=True), forest=True)

    cold, warm = engine(0), engine(2**30)
    for i in range(0, len(examples), chosen.batch):  # fills the caches of the warm engine
        warm.accumulate(examples[i : i + chosen.batch], 1.0)
    gradients(vlm)

    forms: dict[str, Callable[[int], float]] = {
        "naive": lambda i: naive.step(pairs[i : i + chosen.batch]),
        "medpo": lambda i: accumulate(cold, examples[i : i + chosen.batch]),
        "medpo, reference and features cached": lambda i: accumulate(warm, examples[i : i + chosen.batch]),
    }
    seconds: dict[str, list[float]] = {name: [] for name in forms}
    worst_loss = worst_gradient = 0.0
    for step in range(chosen.steps + 1):
        results = {}
        for name, form in forms.items():
            began = time.process_time()
            loss = form(step * chosen.batch)
            if step:  # the first one warms up
                seconds[name].append(time.process_time() - began)
            results[name] = (loss, gradients(vlm))
        loss, expected = results["naive"]
        scale = max(float(g.abs().max()) for g in expected)
        for other, found in list(results.values())[1:]:
            worst_loss = max(worst_loss, abs(other - loss))
            gap = max(float((a - b).abs().max()) for a, b in zip(found, expected, strict=True))
            worst_gradient = max(worst_gradient, gap / scale)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    print(
        json.dumps(
            {
                **vars(chosen),
                "cpu_seconds_a_step": {name: round(value, 4) for name, value in medians.items()},
                "ratio": {name: round(medians["naive"] / value, 2) for name, value in medians.items()},
                "loss_difference": worst_loss,
                "gradient_difference": worst_gradient,
            },
            indent=1,
        )
    )


def accumulate(engine: Engine, batch: list[Any]) -> float:
    """Loss of one step on the fast path; gradients are added."""
    tally = engine.accumulate(batch, 1 / len(batch))
    return tally.sums["loss"].item() / len(batch)


if __name__ == "__main__":
    main()
