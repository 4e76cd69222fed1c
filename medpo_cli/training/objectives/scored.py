"""What the model said about the sequences of a micro-batch, as the objectives read it."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from medpo_cli.schema.objectives import Scope
from medpo_cli.training.objectives import terms


@dataclass(frozen=True)
class Scored:
    """One named sequence of each of ``B`` records; for a list all its entries, one row each.

    Attributes:
        policy: log pi of the answer tokens, ``[B, T]``, nats.
        reference: log pi_ref of the same, ``[B, T]`` (equal to ``policy`` detached where no term needs it).
        span: tokens inside spans, bool ``[B, T]``.
        response: all answer tokens, bool ``[B, T]`` (False is padding).
        sentence: tokens of the sentences that are kept, bool ``[B, T]``; None where no term asks.
        weights: factor of each token as the record says, ``[B, T]``; None where no term asks.
        forward_kl: KL(ref || pi) of each token that a KL covers (0 elsewhere), ``[B, T]``, nats; or None.
        reverse_kl: KL(pi || ref) of the same.
        second: log-probabilities of a second reference, ``[B, T]``; or None.
        classes: logits of the auxiliary head at the answer's last token, ``[B, K]``; or None.
        owner: which record a row belongs to, int64 ``[B]``; for a list rows of one owner stand together.
        facts: numbers that the record gives for a sequence, ``[B]`` each (reward, flip, degree, ...).
    """

    policy: Tensor
    reference: Tensor
    span: Tensor
    response: Tensor
    sentence: Tensor | None = None
    weights: Tensor | None = None
    forward_kl: Tensor | None = None
    reverse_kl: Tensor | None = None
    second: Tensor | None = None
    classes: Tensor | None = None
    owner: Tensor | None = None
    facts: Mapping[str, Tensor] = field(default_factory=dict)

    def mask(self, scope: Scope) -> Tensor:
        """The tokens that ``scope`` selects, ``[B, T]``."""
        if scope == "sentence":
            return _there(self.sentence, "sentence masks")
        return self.span if scope == "span" else self.response

    def log_ratio(self, scope: Scope) -> Tensor:
        """s(x, y) over ``scope``, ``[B]``."""
        return terms.log_ratio(self.policy, self.reference, self.mask(scope))

    def fact(self, name: str) -> Tensor:
        """A number of each record, ``[B]``, in the type of the log-probabilities."""
        return _there(self.facts.get(name), name).to(self.policy.dtype)

    def kl(self, *, forward: bool) -> Tensor:
        """One direction of the token-wise KL, ``[B, T]``."""
        return _there(self.forward_kl if forward else self.reverse_kl, "the KL over the vocabulary")

    def take(self, rows: Tensor) -> "Scored":
        """Only these rows."""

        def part(value: Tensor | None) -> Tensor | None:
            return None if value is None else value[rows]

        optional = ("sentence", "weights", "forward_kl", "reverse_kl", "second", "classes", "owner")
        return replace(
            self,
            policy=self.policy[rows],
            reference=self.reference[rows],
            span=self.span[rows],
            response=self.response[rows],
            facts={name: value[rows] for name, value in self.facts.items()},
            **{name: part(getattr(self, name)) for name in optional},
        )

    def as_list(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Rows of a list as ``[records, N]`` with a mask of the entries that are there.

        Args:
            values: one number a row, ``[B]``.
        """
        owner = _there(self.owner, "owners")
        _, counts = torch.unique_consecutive(owner, return_counts=True)
        present = torch.arange(int(counts.max()), device=values.device) < counts[:, None]
        return values.new_zeros(present.shape).masked_scatter(present, values), present


def _there(value: Tensor | None, what: str) -> Tensor:
    if value is None:
        raise ValueError(f"a term needs {what}, which were not prepared")
    return value
