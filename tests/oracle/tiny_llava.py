"""One tiny LLaVA with a trained-looking adapter, in one folder each, read by medpo and by TRL."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from data.training_pairs import encode, engine, gradients, picture, tiny
from PIL import Image
from torch import Tensor
from torch.distributions import Categorical, kl_divergence

from medpo_cli.models.load import load_model
from medpo_cli.models.lora import save_adapter
from medpo_cli.models.tiny import build_llava, save
from medpo_cli.schema.objectives import Term
from medpo_cli.schema.records import ImageRef, Pair
from medpo_cli.training.encoder import with_mismatches

Gradients = dict[str, Tensor]


@dataclass(frozen=True)
class Result:
    """Of one batch: the loss, what is logged, gradients of the adapters by name."""

    loss: Tensor
    chosen: Tensor
    rejected: Tensor
    gradients: Gradients


@dataclass(frozen=True)
class Folders:
    """Where model and adapter lie."""

    model: Path
    adapter: Path
    scratch: Path

    @classmethod
    def made(cls, root: Path, scale: float) -> "Folders":
        """Both written by medpo; the adapter's B is random, not 0, times ``scale``."""
        vlm, adapter = tiny("llava"), root / "adapter"
        for name, parameter in vlm.model.named_parameters():
            parameter.data *= scale if "lora_B" in name else 1.0
        save_adapter(vlm, adapter)
        return cls(save(root / "model", *build_llava()), adapter, root / "runs")


def of_medpo(folders: Folders, terms: Sequence[Term], pairs: Sequence[Pair], *, forest: bool = True) -> Result:
    """medpo's engine; the reference is the model with its adapter off."""
    vlm = load_model(folders.model, adapter=folders.adapter, dtype="float32", device="cpu")
    for name, parameter in vlm.model.named_parameters():
        parameter.requires_grad_("lora_" in name)
    encoder, examples = encode(vlm, terms, pairs)
    if any(term.key == "kto" for term in terms):
        examples = with_mismatches(examples)
    share = 1 / len(pairs)
    sums = engine(vlm, terms, encoder, forest=forest).accumulate(examples, share).sums
    return Result(*(share * sums[name] for name in ("loss", "chosen", "rejected")), gradients(vlm))


def message(role: str, text: str) -> list[dict[str, str]]:
    """A conversation of one turn."""
    return [{"role": role, "content": text}]


def preference(pair: Pair) -> dict[str, Any]:
    """A pair as TRL's vision collator wants it."""
    return {
        "images": [photo(pair.images[0])],
        "prompt": message("user", pair.prompt),
        "chosen": message("assistant", pair.chosen),
        "rejected": message("assistant", pair.rejected),
    }


def photo(ref: ImageRef) -> Image.Image:
    """The picture that medpo's records see."""
    return Image.fromarray(picture(ref))


class Trl:
    """A trainer of TRL on the same folders, with the model without an adapter as explicit reference.

    Args:
        kind: name of the trainer, ``DPO`` or ``KTO``.
        folders: model and adapter.
        rows: the whole data set: one batch, in this order.
        settings: of its configuration.
    """

    def __init__(self, kind: str, folders: Folders, rows: Sequence[dict[str, Any]], **settings: Any) -> None:
        import trl
        from datasets import Dataset
        from peft import PeftModel
        from transformers import AutoModelForImageTextToText, AutoProcessor

        policy, reference = (AutoModelForImageTextToText.from_pretrained(folders.model) for _ in range(2))
        config = getattr(trl, f"{kind}Config")(
            output_dir=str(folders.scratch),
            use_cpu=True,
            bf16=False,
            activation_checkpointing=False,
            report_to="none",
            max_length=None,
            per_device_train_batch_size=len(rows),
            train_sampling_strategy="sequential",
            **settings,
        )
        self.trainer = getattr(trl, f"{kind}Trainer")(
            model=PeftModel.from_pretrained(policy, folders.adapter, is_trainable=True),
            ref_model=reference,
            args=config,
            train_dataset=Dataset.from_list(list(rows)),
            processing_class=AutoProcessor.from_pretrained(folders.model),
        )
        self.batch = dict(next(iter(self.trainer.get_train_dataloader())))
        self.positions = [kept.nonzero()[:, 0] for kept in self.batch["completion_mask"]]

    def answers(self) -> list[list[int]]:
        """The ids of every completion: all chosen ones, then all rejected ones."""
        return [ids[at].tolist() for ids, at in zip(self.batch["input_ids"], self.positions, strict=True)]

    def keep(self, masks: Sequence[Sequence[bool]]) -> None:
        """Score only these tokens of every completion."""
        completion = self.batch["completion_mask"]
        self.batch["completion_mask"] = completion.masked_scatter(
            completion.bool(), torch.tensor([flag for mask in masks for flag in mask]).to(completion)
        )

    def loss(self) -> Tensor:
        """TRL's loss of the batch."""
        self.trainer.model.train()
        loss: Tensor = self.trainer.compute_loss(self.trainer.model, self.batch)
        return loss

    def divergence(self, forward: float, masks: Sequence[Sequence[bool]]) -> Tensor:
        """Mean over records of the KL at the tokens of the chosen answers, by torch.distributions on full logits."""
        inputs = {name: self.batch[name] for name in ("input_ids", "attention_mask", "pixel_values")}
        policy = self.trainer.model(**inputs).logits
        with torch.no_grad():
            reference = self.trainer.ref_model(**inputs).logits
        total = policy.new_zeros(())
        for row, mask in enumerate(masks):
            rows = self.positions[row][torch.tensor(mask)] - 1
            pi, ref = Categorical(logits=policy[row, rows]), Categorical(logits=reference[row, rows])
            total = total + (forward * kl_divergence(ref, pi) + (1 - forward) * kl_divergence(pi, ref)).sum()
        return total / len(masks)

    def result(self, loss: Tensor) -> Result:
        """The loss with its gradients, and the rewards of TRL's last forward pass."""
        logged = self.trainer._metrics["train"]
        rewards = (torch.tensor(logged[f"rewards/{side}"][-1]) for side in ("chosen", "rejected"))
        return Result(loss, *rewards, self.slopes(loss))

    def slopes(self, loss: Tensor) -> Gradients:
        """Gradients of the adapters."""
        named = {name: value for name, value in self.trainer.model.named_parameters() if value.requires_grad}
        return dict(zip(named, torch.autograd.grad(loss, list(named.values())), strict=True))
