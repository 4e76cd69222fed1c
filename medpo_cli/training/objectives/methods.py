"""A method's terms with the user's settings in them."""

import math
from collections.abc import Sequence

import msgspec

from medpo_cli.errors import ConfigError
from medpo_cli.schema.objectives import K3, KL, NLL, PairList, Scope, Term
from medpo_cli.training.objectives.table import METHODS

PAPO = K3(name="papo", optional=True)


def resolve(
    method: str,
    *,
    beta: float | None = None,
    gamma: float | None = None,
    alpha: float | None = None,
    kl_forward: float | None = None,
    kl_scope: Scope | None = None,
    nll: float | None = None,
    papo: float | None = None,
    composed: Sequence[Term] | None = None,
) -> tuple[Term, ...]:
    """The terms of ``method`` with settings that are not None in place of its defaults.

    A weight of 0 drops its term. ``nll`` and ``papo`` may be added to any method of pairs.

    Args:
        method: a name of ``METHODS``.
        beta: of every ranking and anchor.
        gamma: weight of the terms called visual, or exponent of PerPO.
        alpha: weight of the token-wise KL.
        kl_forward: lambda, the share of KL(ref || pi).
        kl_scope: tokens the KL covers.
        nll: weight of the likelihood of the chosen answer.
        papo: c, weight of the divergence from the corrupted image that is rewarded (2507.06448).
        composed: terms to use instead of the method's.

    Raises:
        ConfigError: unknown method, a setting out of range or of no use to the method, nothing left to train.
    """
    _check_range({"beta": beta, "gamma": gamma, "alpha": alpha, "nll": nll, "papo": papo}, kl_forward)
    if composed is None and method not in METHODS:
        raise ConfigError(f"method: unknown; one of {', '.join(METHODS)}")
    terms = {term.key: term for term in (METHODS[method].terms if composed is None else composed)}
    if composed is not None and len(terms) < len(composed):
        raise ConfigError("terms: two have the same name")
    if nll is not None:
        terms["nll"] = msgspec.structs.replace(terms.get("nll", NLL()), weight=nll)
    if papo is not None:
        terms["papo"] = msgspec.structs.replace(PAPO, weight=-papo)
    _change(terms, method, "gamma", gamma)
    _change(terms, method, "alpha", alpha)
    _change(terms, method, "kl_forward", kl_forward)
    _change(terms, method, "kl_scope", kl_scope)
    _change(terms, method, "beta", beta)
    chosen = tuple(term for term in terms.values() if term.weight != 0)
    if not chosen:
        raise ConfigError(f"method {method}: every term has weight 0")
    return chosen


def _field(term: Term, flag: str) -> str | None:
    """Which field of ``term`` a flag sets, if any."""
    if flag == "gamma":
        return "gamma" if isinstance(term, PairList) else "weight" if term.key.startswith("visual") else None
    if flag == "beta":
        return "beta" if "beta" in term.__struct_fields__ else None
    return {"alpha": "weight", "kl_forward": "forward", "kl_scope": "scope"}[flag] if isinstance(term, KL) else None


def _change(terms: dict[str, Term], method: str, flag: str, value: float | str | None) -> None:
    """Set what ``flag`` means in every term that has it; refuse if none has."""
    if value is None:
        return
    fields = {name: field for name, term in terms.items() if (field := _field(term, flag))}
    if not fields:
        raise ConfigError(f"{flag}: method {method} has no such term")
    for name, field in fields.items():
        terms[name] = msgspec.structs.replace(terms[name], **{field: value})


def _check_range(weights: dict[str, float | None], kl_forward: float | None) -> None:
    for flag, value in (*weights.items(), ("kl_forward", kl_forward)):
        top = 1 if flag == "kl_forward" else math.inf
        if value is not None and not 0 <= value <= top:
            raise ConfigError(f"{flag}: must lie between 0 and {'1' if top == 1 else 'infinity'}")
