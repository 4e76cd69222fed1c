r"""Which terms each method is made of: one literal table.

Paper symbols, written once. For a record with image v, corrupted image v', question x, preferred answer
y+ and rejected answer y-, with span masks m and log-ratios s(v, y) = sum_t log pi - log pi_ref:

    rank    = -log sigmoid(beta [ s_m(v, y+) - s_m(v, y-) ])
    visual  = -log sigmoid(beta [ s_m(v', y-) - s_m(v', y+) ])         0 where the record has no v'
    kl      = sum_{t in m(y+)} lambda KL(pi_ref || pi)_t + (1 - lambda) KL(pi || pi_ref)_t   under v
    nll     = - mean_t log pi(y+_t | v, x, y+_<t)

    fire-mpo  L = rank + gamma visual + alpha kl          (2606.12590: beta .1, gamma .1, alpha .01, lambda .5)
    dpo       L = rank over all answer tokens                                     (2305.18290: beta .1)
    rrpo      L = rank + alpha kl over all tokens of y+, lambda 1                  (2504.12083: beta .1, alpha .01)
    mask-dpo  L = rank                                                             (2503.02846: beta .1)
    sft       L = nll

The plus before ``alpha kl`` follows the released code of FiRe-MPO; the minus printed in its equation would
reward drift. The loss of a step is the mean over all its records, also those without v'.
"""

import math
from dataclasses import dataclass, replace
from typing import Literal

from torch import Tensor

from medpo_cli.errors import ConfigError
from medpo_cli.training.objectives import terms as arithmetic

Scope = Literal["span", "response"]
CHOSEN, REJECTED = "+", "-"
CORRUPTED_CHOSEN, CORRUPTED_REJECTED = "'+", "'-"


@dataclass(frozen=True)
class Term:
    """One weighted part of an objective.

    Attributes:
        name: key in step records.
        kind: which arithmetic.
        sequences: names of the sequences it reads; for ``rank`` the preferred one first.
        scope: tokens that count: those inside spans, or the whole answer with its end token.
        weight: factor in the loss.
        beta: strength of a ranking.
        forward: lambda, the share of KL(ref || pi).
    """

    name: str
    kind: Literal["rank", "kl", "nll"]
    sequences: tuple[str, ...]
    scope: Scope
    weight: float = 1.0
    beta: float = 0.1
    forward: float = 0.5


@dataclass(frozen=True)
class Scored:
    """What a model said about one named sequence of each of ``B`` records.

    Attributes:
        policy: log pi of the answer tokens, ``[B, T]``.
        reference: log pi_ref of the same, ``[B, T]`` (equal to ``policy`` detached where no term needs it).
        span: tokens inside spans, ``[B, T]``.
        response: all answer tokens (False is padding), ``[B, T]``.
        policy_rows: log pi over the vocabulary where a KL is taken, ``[N, V]``, records in order; or None.
        reference_rows: the same of the reference.
    """

    policy: Tensor
    reference: Tensor
    span: Tensor
    response: Tensor
    policy_rows: Tensor | None = None
    reference_rows: Tensor | None = None

    def mask(self, scope: Scope) -> Tensor:
        """The tokens that ``scope`` selects, ``[B, T]``."""
        return self.span if scope == "span" else self.response

    def log_ratio(self, scope: Scope) -> Tensor:
        """s(x, y) over ``scope``, ``[B]``."""
        return arithmetic.log_ratio(self.policy, self.reference, self.mask(scope))


def _rank(scope: Scope) -> Term:
    return Term("rank", "rank", (CHOSEN, REJECTED), scope)


METHODS: dict[str, tuple[Term, ...]] = {
    "fire-mpo": (
        _rank("span"),
        Term("visual", "rank", (CORRUPTED_REJECTED, CORRUPTED_CHOSEN), "span", weight=0.1),
        Term("kl", "kl", (CHOSEN,), "span", weight=0.01, forward=0.5),
    ),
    "dpo": (_rank("response"),),
    "rrpo": (_rank("span"), Term("kl", "kl", (CHOSEN,), "response", weight=0.01, forward=1.0)),
    "mask-dpo": (_rank("span"),),
    "sft": (Term("nll", "nll", (CHOSEN,), "response"),),
}


def resolve(
    method: str,
    *,
    beta: float | None = None,
    gamma: float | None = None,
    alpha: float | None = None,
    kl_forward: float | None = None,
    kl_scope: Scope | None = None,
    nll: float | None = None,
) -> tuple[Term, ...]:
    """The terms of ``method`` with settings that are not None in place of its defaults.

    A weight of 0 drops its term. ``nll`` may be added to any method.

    Raises:
        ConfigError: unknown method, a setting out of range or of no use to the method, nothing left to train.
    """
    for flag, value in (("beta", beta), ("gamma", gamma), ("alpha", alpha), ("nll", nll), ("kl_forward", kl_forward)):
        if value is not None and not 0 <= value <= (1 if flag == "kl_forward" else math.inf):
            raise ConfigError(f"{flag}: must lie between 0 and {'1' if flag == 'kl_forward' else 'infinity'}")
    if method not in METHODS:
        raise ConfigError(f"method: unknown; one of {', '.join(METHODS)}")
    terms = {term.name: term for term in METHODS[method]}
    if nll is not None:
        terms["nll"] = replace(terms.get("nll", Term("nll", "nll", (CHOSEN,), "response")), weight=nll)
    _change(terms, method, "gamma", gamma, ("visual",), "weight")
    _change(terms, method, "alpha", alpha, ("kl",), "weight")
    _change(terms, method, "kl_forward", kl_forward, ("kl",), "forward")
    _change(terms, method, "kl_scope", kl_scope, ("kl",), "scope")
    _change(terms, method, "beta", beta, ("rank", "visual"), "beta")
    chosen = tuple(term for term in terms.values() if term.weight != 0)
    if not chosen:
        raise ConfigError(f"method {method}: every term has weight 0")
    return chosen


def _change(
    terms: dict[str, Term], method: str, flag: str, value: float | str | None, names: tuple[str, ...], field: str
) -> None:
    """Set ``field`` of the terms among ``names`` that the method has; refuse if it has none."""
    if value is None:
        return
    present = [name for name in names if name in terms]
    if not present:
        raise ConfigError(f"{flag}: method {method} has no such term")
    for name in present:
        terms[name] = replace(terms[name], **{field: value})  # type: ignore[arg-type]


def evaluate(term: Term, batch: dict[str, Scored]) -> Tensor:
    """The unweighted value of ``term`` for each record, ``[B]``.

    Args:
        term: what to compute.
        batch: the scored sequences by name; those of one term hold the same records in the same order.
    """
    first = batch[term.sequences[0]]
    if term.kind == "rank":
        worse = batch[term.sequences[1]]
        return arithmetic.bradley_terry(first.log_ratio(term.scope), worse.log_ratio(term.scope), term.beta)
    mask = first.mask(term.scope)
    if term.kind == "nll":
        return arithmetic.mean_nll(first.policy, mask)
    if first.policy_rows is None or first.reference_rows is None:
        raise ValueError("a KL term needs vocabulary rows of policy and reference")
    divergence = arithmetic.bidirectional_kl(first.policy_rows, first.reference_rows, term.forward)
    per_token = first.policy.new_zeros(mask.shape).masked_scatter(mask, divergence)
    return per_token.sum(-1)
