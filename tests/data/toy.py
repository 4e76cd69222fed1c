"""The toy of the objectives: V = 3, three answer tokens, the label is always index 0.

Per position ``pi | ref``; the label ratios pi/ref are what the sums of logs multiply up to:
(v, y+)  span 0 1 1   .3/.2 = 1.5   .5/.4 = 1.25   .6/.5 = 1.2
(v, y-)  span 0 1 0   .5/.5 = 1     .2/.25 = .8    .3/.25 = 1.2
(v', y+) span 0 1 1   1   .75   1        (v', y-) span 0 1 0   1   1.2   1
With x the product of the ratios, -log sigmoid(beta ln x) = ln(1 + x^-beta).
Lists and the second image are given by their ratios alone (one token each).
"""

import math
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from medpo_cli.schema.objectives import Term
from medpo_cli.training.objectives.evaluate import evaluate
from medpo_cli.training.objectives.scored import Scored
from medpo_cli.training.objectives.terms import kl_rows

POLICY = {
    "+": [[0.3, 0.5, 0.2], [0.5, 0.3, 0.2], [0.6, 0.3, 0.1]],
    "-": [[0.5, 0.3, 0.2], [0.2, 0.6, 0.2], [0.3, 0.4, 0.3]],
    "'+": [[0.2, 0.4, 0.4], [0.3, 0.4, 0.3], [0.5, 0.3, 0.2]],
    "'-": [[0.5, 0.3, 0.2], [0.3, 0.4, 0.3], [0.25, 0.5, 0.25]],
}
REFERENCE = {
    "+": [[0.2, 0.5, 0.3], [0.4, 0.4, 0.2], [0.5, 0.25, 0.25]],
    "-": [[0.5, 0.25, 0.25], [0.25, 0.5, 0.25], [0.25, 0.5, 0.25]],
    "'+": [[0.2, 0.4, 0.4], [0.4, 0.4, 0.2], [0.5, 0.25, 0.25]],
    "'-": [[0.5, 0.3, 0.2], [0.25, 0.5, 0.25], [0.25, 0.5, 0.25]],
}
SECOND = {"+": [0.2, 0.5, 0.5], "-": [0.5, 0.2, 0.25]}
SPAN = {"+": [0, 1, 1], "-": [0, 1, 0], "'+": [0, 1, 1], "'-": [0, 1, 0]}
SENTENCE = {"+": [1, 1, 0], "-": [0, 1, 1], "'+": [1, 1, 0], "'-": [0, 1, 1]}
TIS = {"+": [1.0, 1.3, 0.7], "-": [0.7, 1.3, 1.0]}
LIST = [(1.4, 0.9), (1.2, 0.6), (1.0, 0.5), (0.6, 0.1)]  # ratio, reward
LADDER = [1.4, 1.3, 1.2, 1.0, 0.6]
# SymMPO: (m1, yw) 1.5, (m1, yl) .8, (m1, y2) .9, (m2, yw) 1.0, (m2, y2) 1.4
TWIN = {"+": 1.5, "-": 0.8, "2": 0.9, "2:+": 1.0, "2:2": 1.4}
LN2 = math.log(2)
START = {
    "fire-mpo": 1.1 * LN2,
    "fire-mpo-v1": 1.1 * LN2,
    "fire-mpo-v2": 1.1 * LN2,
    "ipo": 25.0,
    "hinge": 1.0,
    "nca": 2 * LN2,
    "apo-zero": 1.0,
    "apo-down": 1.0,
    "sppo": 50.0,
    "kto": 0.5,
    "rpo": LN2 - 0.2 * math.log(0.2 * 0.4 * 0.5) / 3,
    "rpo-sum": LN2 - 5e-5 * math.log(0.2 * 0.4 * 0.5),
    "sft": -math.log(0.2 * 0.4 * 0.5) / 3,
    "mdpo": 3 * LN2,
    "s-dpo": math.log(4),
    "lpoi": 2 * LN2 + math.log(math.factorial(5)),
    "mmedpo": 2 * LN2,
    "sympo": 4 * LN2,
    "opa-dpo": 4.4 * LN2,
    "spo": LN2 + 0.2 * math.log(5),
    "p3o": 0.0,
}
"""Losses of the methods while the policy is the reference; ln 2 for all others. Likelihoods are the toy's."""
FACTS = {"flip": 0.2, "there": 1.0, "degree": 0.0}


def nls(product: float, beta: float = 0.1) -> float:
    """-log sigmoid(beta ln product)."""
    return math.log(1 + product**-beta)


def scored(name: str, span: list[int] | None = None) -> Scored:
    """One of the four sequences, with everything that any term reads."""
    policy, reference = (torch.tensor(rows[name], dtype=torch.float64).log() for rows in (POLICY, REFERENCE))
    forward_kl, reverse_kl = kl_rows(policy, reference)
    bare = name.strip("'")
    return Scored(
        policy[None, :, 0],
        reference[None, :, 0],
        torch.tensor([span or SPAN[name]]).bool(),
        torch.ones(1, 3, dtype=torch.bool),
        torch.tensor([SENTENCE[name]]).bool(),
        torch.tensor([TIS[bare]], dtype=torch.float64),
        forward_kl[None],
        reverse_kl[None],
        torch.tensor([SECOND[bare]], dtype=torch.float64).log(),
        torch.tensor([[2.0, 1.0, 0.0]], dtype=torch.float64),
        torch.zeros(1, dtype=torch.long),
        {key: torch.tensor([value]) for key, value in FACTS.items()},
    )


def of_ratios(ratios: list[float], **facts: list[float]) -> Scored:
    """One-token answers of one record with these ratios; the reference is uniform over 3."""
    policy = torch.tensor(ratios, dtype=torch.float64)[:, None].log() - math.log(3)
    ones = torch.ones(len(ratios), 1, dtype=torch.bool)
    owner = torch.zeros(len(ratios), dtype=torch.long)
    given = {key: torch.tensor(values, dtype=torch.float64) for key, values in facts.items()}
    return Scored(policy, torch.full_like(policy, -math.log(3)), ones, ones, owner=owner, facts=given)


def toy(spans: dict[str, list[int]] | None = None) -> dict[str, Scored]:
    """Every sequence of the toy by name."""
    batch = {name: scored(name, (spans or {}).get(name)) for name in POLICY}
    # The same ratios as a list of answers drawn from the policy as it is, and as a ladder of images.
    batch["*"] = of_ratios([ratio for ratio, _ in LIST], reward=[reward for _, reward in LIST])
    batch["#"] = of_ratios(LADDER)
    return batch


def twins() -> dict[str, Scored]:
    """The sequences of SymMPO."""
    return {name: of_ratios([ratio]) for name, ratio in TWIN.items()}


def rollouts(old: float = 0.0) -> dict[str, Scored]:
    """(v, y+) and (v, y-) as two rollouts with rewards .9 and .1, drawn ``old`` nats below the policy."""
    both = [scored(name) for name in ("+", "-")]
    drawn = [part.policy.sum().item() - old for part in both]
    joined = Scored(
        *(torch.cat([getattr(part, name) for part in both]) for name in ("policy", "reference", "span", "response"))
    )
    facts = {"reward": torch.tensor([0.9, 0.1], dtype=torch.float64), "old": torch.tensor(drawn, dtype=torch.float64)}
    return {"*": replace(joined, owner=torch.zeros(2, dtype=torch.long), facts=facts)}


def at_start(batch: dict[str, Scored]) -> dict[str, Scored]:
    """The batch of an untrained policy: it is the reference, and the auxiliary head is flat."""
    made = {}
    for name, part in batch.items():
        zero = torch.zeros_like(part.policy)
        classes = None if part.classes is None else torch.zeros(1, 5, dtype=torch.float64)
        known = {"policy": part.reference, "forward_kl": zero, "reverse_kl": zero, "second": part.reference}
        made[name] = replace(part, classes=classes, **known)
    return made


def loss(chosen: tuple[Term, ...], batch: dict[str, Scored], base: float = 0.0) -> float:
    """Weighted sum of the terms, mean over records."""
    z = torch.tensor(base, dtype=torch.float64)
    return float(sum(term.weight * evaluate(term, batch, z).mean() for term in chosen))


def stacked(*parts: Scored) -> Scored:
    """Several records of one sequence."""

    def joined(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        return None if values[0] is None else torch.cat(values)

    tensors = ("policy", "reference", "span", "response", "sentence", "weights", "forward_kl", "reverse_kl")
    owners: list[Tensor] = [torch.full((len(part.policy),), i) for i, part in enumerate(parts)]
    return Scored(
        **{name: joined(name) for name in (*tensors, "second", "classes")},
        owner=torch.cat(owners),
        facts={key: torch.cat([part.facts[key] for part in parts]) for key in parts[0].facts},
    )
