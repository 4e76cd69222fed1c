"""Supervised training of projector and language model on cached features of the frozen tower."""

import math
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from medpo_cli.demo.build.teaching import Example

IGNORE = -100


class Encoder:
    """Texts to token ids, by the folder's own chat template."""

    def __init__(self, processor: Any, image_tokens: int) -> None:
        self.processor = processor
        self.tokenizer = processor.tokenizer
        self.image_id = self.tokenizer.convert_tokens_to_ids("<image>")
        self.image_tokens = image_tokens

    def prompt(self, prompt: str) -> list[int]:
        """Ids of the user's turn with the expanded image and the generation prompt."""
        content = [{"type": "image"}, {"type": "text", "text": prompt}]
        text = self.processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
        ids: list[int] = []
        for token in self.tokenizer(text, add_special_tokens=False).input_ids:
            ids += [token] * (self.image_tokens if token == self.image_id else 1)
        return ids

    def answer(self, answer: str) -> list[int]:
        """Ids of an answer with its end token."""
        return [*self.tokenizer(answer, add_special_tokens=False).input_ids, self.tokenizer.eos_token_id]

    def batch(self, examples: list[Example]) -> tuple[torch.Tensor, torch.Tensor]:
        """Right-padded ids [B, S] and labels [B, S] (answers only)."""
        pairs = [(self.prompt(item.prompt), self.answer(item.answer)) for item in examples]
        width = max(len(prompt) + len(answer) for prompt, answer in pairs)
        ids = torch.full((len(pairs), width), self.tokenizer.pad_token_id)
        labels = torch.full((len(pairs), width), IGNORE)
        for row, (prompt, answer) in enumerate(pairs):
            ids[row, : len(prompt) + len(answer)] = torch.tensor(prompt + answer)
            labels[row, len(prompt) : len(prompt) + len(answer)] = torch.tensor(answer)
        return ids, labels


def embed(model: Any, ids: torch.Tensor, features: torch.Tensor, image_id: int) -> torch.Tensor:
    """Token embeddings [B, S, hidden] with the projected tower features [B, 37, hidden] put in."""
    embeddings = model.get_input_embeddings()(ids)
    projected = model.model.multi_modal_projector(features)
    where = (ids == image_id).unsqueeze(-1).expand_as(embeddings)
    result: torch.Tensor = embeddings.masked_scatter(where, projected)
    return result


@torch.no_grad()
def fit_projector(model: Any, features: torch.Tensor) -> None:
    """Fold the features' mean and scale into the first projector layer, so that its input is as if standardised."""
    flat = features.reshape(-1, features.shape[-1])
    mean, scale = flat.mean(0), flat.std()
    first = model.model.multi_modal_projector.linear_1
    nn.init.normal_(first.weight, std=flat.shape[-1] ** -0.5)
    first.weight /= scale
    first.bias.copy_(-first.weight @ mean)
    second = model.model.multi_modal_projector.linear_2
    nn.init.normal_(second.weight, std=flat.shape[-1] ** -0.5)


def token_loss(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Mean loss of answer tokens, those already certain (template words) weighted down to a tenth."""
    losses = functional.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:], reduction="none")
    known = labels[:, 1:] != IGNORE
    weight = known * torch.where(losses.detach() < 0.02, 0.1, 1.0)
    return (losses * weight).sum() / weight.sum()


class Shuffled:
    """Endless batches of examples, reshuffled every pass."""

    def __init__(self, examples: list[Example], size: int, seed: int) -> None:
        self.examples, self.size = examples, size
        self.generator = torch.Generator().manual_seed(seed)
        self.order: list[int] = []

    def next(self) -> list[Example]:
        """The next batch."""
        if len(self.order) < self.size:
            self.order = torch.randperm(len(self.examples), generator=self.generator).tolist()
        rows, self.order = self.order[: self.size], self.order[self.size :]
        return [self.examples[row] for row in rows]


def train_language(
    model: Any,
    encoder: Encoder,
    features: torch.Tensor,
    streams: list[Shuffled],
    *,
    steps: int,
    lr: float,
    log: Any,
) -> None:
    """Train projector, embeddings and language model in place; the tower is not touched.

    Each step takes one batch of every stream, each in a forward pass of its own (less padding).
    """
    parameters = [*model.model.multi_modal_projector.parameters(), *model.model.language_model.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=lr, weight_decay=0.01, betas=(0.9, 0.98))
    warmup = max(1, steps // 25)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warmup, 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(step / steps, 1)))),
    )
    model.train()
    for step in range(steps):
        optimizer.zero_grad()
        shown = []
        for stream in streams:
            examples = stream.next()
            ids, labels = encoder.batch(examples)
            rows = torch.tensor([item.image for item in examples])
            hidden = model.model.language_model(inputs_embeds=embed(model, ids, features[rows], encoder.image_id))
            start = int((labels != IGNORE).int().argmax(dim=1).min()) - 1
            loss = token_loss(model.lm_head(hidden.last_hidden_state[:, start:]), labels[:, start:])
            torch.autograd.backward(loss)
            shown.append(loss.item())
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 0 or step == steps - 1:
            log(f"language step {step} loss {' '.join(f'{value:.4f}' for value in shown)}")
    model.eval()
