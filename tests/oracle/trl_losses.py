"""TRL's own loss code on given log-probabilities or logits: its trainers without a model, a tokenizer or data.

A trainer made by ``object.__new__`` has every method of TRL and only the settings that the loss reads. All of it
computes in the type of the log-probabilities, but for the odds of ORPO, which TRL casts to float32.
"""

from collections import defaultdict
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch import Tensor

from medpo_cli.schema.objectives import Scope
from medpo_cli.training.objectives.scored import Scored

IGNORED = -100


def _accelerator() -> Any:
    """One process on the CPU."""
    return SimpleNamespace(device=torch.device("cpu"), gather=lambda x: x, gather_for_metrics=lambda x: x)


def _trainer(kind: type, **settings: Any) -> Any:
    made = object.__new__(kind)
    made.__dict__.update(
        accelerator=_accelerator(),
        model=SimpleNamespace(training=True),
        aux_loss_enabled=False,
        precompute_ref_logps=True,
        _metrics={"train": defaultdict(list)},
        _total_train_tokens=0,
        _tp_size=1,
        **settings,
    )
    return made


def _fused(*tables: Tensor) -> Any:
    """A model that answers the n-th call with the n-th log-probabilities, 0 where a label is ignored.

    That is what TRL's fused head returns, one column short of the labels.
    """
    waiting = list(tables)

    def forward(*, labels: Tensor, **_inputs: Any) -> SimpleNamespace:
        kept = labels[:, 1:] != IGNORED
        rows = torch.where(kept, waiting.pop(0), 0.0)
        zero = torch.zeros_like(rows)
        return SimpleNamespace(log_probs=rows, entropy=zero, mean_logits=zero, is_top1=kept)

    return forward


def _inputs(mask: Tensor) -> dict[str, Tensor]:
    """Token ids nobody reads, one prompt token in front of the answer, and the mask as ``completion_mask``."""
    prompt = torch.zeros(len(mask), 1, dtype=torch.long)
    completion_mask = torch.cat([prompt, mask.long()], dim=1)
    ids = torch.zeros_like(completion_mask)
    return {"input_ids": ids, "attention_mask": ids + 1, "completion_mask": completion_mask}


def dpo(
    better: Scored,
    worse: Scored | None,
    *losses: str,
    weights: Sequence[float] = (1.0,),
    beta: float = 0.1,
    smoothing: float = 0.0,
    scope: Scope = "response",
) -> Tensor:
    """``DPOTrainer._compute_loss`` with the tokens of ``scope`` as completions; no ``worse``: its log-ratio is 0."""
    from trl import DPOTrainer

    sides = [better, worse if worse is not None else _still(better)]
    masks = [side.mask(scope) for side in sides]
    trainer = _trainer(
        DPOTrainer,
        beta=beta,
        loss_types=list(losses or ("sigmoid",)),
        loss_weights=list(weights),
        label_smoothing=smoothing,
        ld_alpha=None,
        f_divergence_type="reverse_kl",
        use_weighting=False,
    )
    chosen, rejected = (torch.where(m, side.reference, 0.0).sum(-1) for side, m in zip(sides, masks, strict=True))
    inputs = _inputs(torch.cat(masks)) | {"ref_chosen_logps": chosen, "ref_rejected_logps": rejected}
    loss: Tensor = trainer._compute_loss(_fused(torch.cat([side.policy for side in sides])), inputs, False)
    return loss


def _still(part: Scored) -> Scored:
    return Scored(part.reference, part.reference, part.span, part.response)


def kto(
    answers: Scored, good: Tensor, mismatched: Scored, *, beta: float = 0.1, weights: tuple[float, float] = (1.0, 1.0)
) -> Tensor:
    """``KTOTrainer._compute_loss`` on answers with a label each; its KL comes from ``mismatched``."""
    from trl import KTOTrainer

    trainer = _trainer(
        KTOTrainer,
        beta=beta,
        loss_type="kto",
        calculate_KL=True,
        desirable_weight=weights[0],
        undesirable_weight=weights[1],
    )
    inputs = _inputs(answers.response) | {f"KL_{key}": value for key, value in _inputs(mismatched.response).items()}
    sums = {
        key: torch.where(part.response, part.reference, 0.0).sum(-1)
        for key, part in (("ref_logps", answers), ("ref_KL_logps", mismatched))
    }
    loss: Tensor = trainer._compute_loss(
        _fused(mismatched.policy, answers.policy), inputs | sums | {"label": good}, False
    )
    return loss


def _from_logits(trainer: Any, logits: Tensor, ids: Tensor, lengths: Tensor, prompt: int) -> Tensor:
    """``get_batch_loss_metrics`` of a trainer without a reference, chosen rows first.

    Args:
        trainer: CPO or ORPO.
        logits: ``[2B, S, V]``, each row predicting the next token.
        ids: ``[2B, S]``.
        lengths: answer tokens of each row, ``[2B]``.
        prompt: prompt tokens of every row.
    """
    there = torch.arange(ids.shape[1]) < prompt + lengths[:, None]
    labels = ids.masked_fill(~there, IGNORED).index_fill(1, torch.arange(prompt), IGNORED)
    fields = {"input_ids": ids, "attention_mask": there.long(), "labels": labels}
    batch = {
        f"{side}_{key}": half
        for key, value in fields.items()
        for side, half in zip(("chosen", "rejected"), value.chunk(2), strict=True)
    }
    loss: Tensor = trainer.get_batch_loss_metrics(lambda *_, **__: SimpleNamespace(logits=logits), batch)[0]
    return loss


def simpo(logits: Tensor, ids: Tensor, lengths: Tensor, *, beta: float, margin: float, prompt: int = 1) -> Tensor:
    """``CPOTrainer`` with the loss ``simpo`` and no NLL."""
    from trl.experimental.cpo import CPOTrainer

    settings = {"alpha": 0.0, "cpo_alpha": 0.0, "label_smoothing": 0.0, "is_encoder_decoder": False, "pad_token_id": 0}
    trainer = _trainer(CPOTrainer, loss_type="simpo", beta=beta, simpo_gamma=margin, **settings)
    return _from_logits(trainer, logits, ids, lengths, prompt)


def orpo(logits: Tensor, ids: Tensor, lengths: Tensor, *, beta: float, prompt: int = 1) -> Tensor:
    """``ORPOTrainer``; its odds are computed in float32, whatever the logits are."""
    from trl.experimental.orpo import ORPOTrainer

    trainer = _trainer(ORPOTrainer, beta=beta, is_encoder_decoder=False, padding_value=0)
    return _from_logits(trainer, logits, ids, lengths, prompt)
