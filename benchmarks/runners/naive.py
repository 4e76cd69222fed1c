"""The eight-pass form of the published implementation, in plain transformers and peft.

Four forward calls of 2 B padded rows (chosen and rejected; clean and corrupted image; policy and reference),
images encoded for every row, logits at every position, log-softmax over all of them. Tokens and pixels are
prepared beforehand, which is kind to it.
"""

import json
import sys
from pathlib import Path
from typing import Any

import torch
from child import start_adapters, train
from peft import LoraConfig, get_peft_model
from PIL import Image
from torch import Tensor
from torch.nn.functional import logsigmoid
from transformers import AutoModelForImageTextToText

from medpo_cli.models.processor import load_processor
from runners.data import TARGETS, read_pairs

BETA, GAMMA, ALPHA, LAMBDA = 0.1, 0.1, 0.01, 0.5


class Naive:
    """Model, prepared rows and the loss of a step.

    Args:
        job: ``model``, ``pairs``, ``batch``, ``rank``, ``device``, ``dtype`` and ``checkpointing``.
    """

    def __init__(self, job: dict[str, Any]) -> None:
        self.device, self.batch = torch.device(job["device"]), job["batch"]
        model = AutoModelForImageTextToText.from_pretrained(job["model"], dtype=getattr(torch, job["dtype"]))
        model = model.to(self.device).requires_grad_(False)
        config = LoraConfig(r=job["rank"], lora_alpha=2 * job["rank"], target_modules=TARGETS)
        self.model: Any = get_peft_model(model, config).train()
        if job["checkpointing"]:  # before PEFT it would let gradients into the frozen tower
            model.activation_checkpointing_enable({"use_reentrant": False})
        start_adapters(self.model.get_base_model())
        self.parameters = [p for p in self.model.parameters() if p.requires_grad]
        processor = load_processor(Path(job["model"]))
        self.pad: int = processor.tokenizer.pad_token_id
        self.image_token: int = model.config.image_token_id
        self.typed = "qwen" in model.config.model_type
        self.ready = [
            {bad: _rows(processor, pair, Path(job["pairs"]) / pair[bad]) for bad in ("image", "corrupted")}
            for pair in read_pairs(job["pairs"])
        ]

    def step(self, number: int) -> float:
        """Loss of step ``number``; gradients are added."""
        ready = [self.ready[(number * self.batch + i) % len(self.ready)] for i in range(self.batch)]
        n = len(ready)
        policy, reference, span, chosen, rejected = self._sides([one["image"] for one in ready])
        *_, bad_chosen, bad_rejected = self._sides([one["corrupted"] for one in ready])
        p, r = policy[:n], reference[:n]
        kl = LAMBDA * (r.exp() * (r - p)).sum(-1) + (1 - LAMBDA) * (p.exp() * (p - r)).sum(-1)
        loss = -logsigmoid(BETA * (chosen - rejected)) - GAMMA * logsigmoid(BETA * (bad_rejected - bad_chosen))
        loss = (loss + ALPHA * (kl * span[:n]).sum(-1)).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.item()

    def _sides(self, ready: list[list[dict[str, Tensor]]]) -> tuple[Tensor, ...]:
        rows = [sides[side] for side in (0, 1) for sides in ready]
        with torch.no_grad(), self.model.disable_adapter():
            reference, *_ = self._call(rows)
        policy, ids, span = self._call(rows)
        tokens = policy.gather(-1, ids[..., None]) - reference.gather(-1, ids[..., None])
        ratio = (tokens[..., 0] * span).sum(-1)
        return policy, reference, span, ratio[: len(ready)], ratio[len(ready) :]

    def _call(self, rows: list[dict[str, Tensor]]) -> tuple[Tensor, Tensor, Tensor]:
        pad = torch.nn.utils.rnn.pad_sequence
        ids = pad([row["ids"] for row in rows], batch_first=True, padding_value=self.pad).to(self.device)
        span = pad([row["span"] for row in rows], batch_first=True)[:, 1:].to(self.device)
        attention = pad([torch.ones_like(row["ids"]) for row in rows], batch_first=True).to(self.device)
        images = {
            name: torch.cat([row[name] for row in rows]).to(self.device)
            for name in ("pixel_values", "image_grid_thw")
            if name in rows[0]
        }
        if self.typed:
            images["mm_token_type_ids"] = (ids == self.image_token).int()
        logits = self.model(input_ids=ids, attention_mask=attention, **images).logits
        wide = logits if logits.dtype == torch.float64 else logits.float()
        return wide[:, :-1].log_softmax(-1), ids[:, 1:], span


def _rows(processor: Any, pair: dict[str, Any], picture: Path) -> list[dict[str, Tensor]]:
    """Chosen and rejected under one picture: ids, span mask, pixels."""
    content = [{"type": "image"}, {"type": "text", "text": pair["prompt"]}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    inputs = processor(images=[Image.open(picture).convert("RGB")], text=[text], return_tensors="pt")
    prompt = inputs["input_ids"][0]
    images = {name: inputs[name] for name in ("pixel_values", "image_grid_thw") if name in inputs}
    rows = []
    for side in ("chosen", "rejected"):
        encoded = processor.tokenizer(pair[side], add_special_tokens=False, return_offsets_mapping=True)
        spans = [span[side] for span in pair["spans"]]
        inside = [any(start < e and s < end for s, e in spans) for start, end in encoded["offset_mapping"]]
        answer = torch.tensor([*encoded["input_ids"], processor.tokenizer.eos_token_id])
        mask = torch.tensor([False] * len(prompt) + inside + [False])
        rows.append({"ids": torch.cat([prompt, answer]), "span": mask, **images})
    return rows


if __name__ == "__main__":
    torch.set_num_threads(1)
    wanted = json.loads(sys.argv[1])
    naive = Naive(wanted)
    train(wanted, naive.parameters, naive.step)
