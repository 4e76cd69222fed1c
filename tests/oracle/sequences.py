"""What the oracle compares on: the toy, and random log-probabilities of answers of all lengths."""

from collections.abc import Iterable
from dataclasses import replace

import torch
from data.toy import LADDER, LIST, of_ratios, toy, twins
from torch import Tensor

from medpo_cli.schema.objectives import Term
from medpo_cli.training.objectives.evaluate import evaluate
from medpo_cli.training.objectives.scored import Scored

NAMES = ("+", "-", "'+", "'-", "r", "'r", "2", "2:2", "2:+")
RECORDS, TOKENS = 5, 7
Batch = dict[str, Scored]


def toy_pairs() -> Batch:
    """The toy; its lists cut to their first two entries."""
    of_two = of_ratios([ratio for ratio, _ in LIST[:2]], reward=[reward for _, reward in LIST[:2]])
    return leaves({**toy(), "*": of_two, "#": of_ratios(LADDER[:2])})


def full_mask(batch: Batch) -> Batch:
    """The same with spans that cover the whole answers."""
    return {name: replace(part, span=part.response) for name, part in batch.items()}


def toy_twins() -> Batch:
    """The toy of two similar images."""
    return leaves(twins())


def random_batch(seed: int = 0) -> Batch:
    """Random float64 log-probabilities: lengths from 1 token up, one answer with nothing edited."""
    generator = torch.Generator().manual_seed(seed)
    rewards = torch.tensor([0.9, 0.4] * RECORDS)

    def part(rows: int) -> Scored:
        def chance() -> Tensor:
            return torch.rand(rows, TOKENS, generator=generator)

        policy, reference = (-torch.randn(rows, TOKENS, generator=generator).double().exp() for _ in range(2))
        length = torch.randint(1, TOKENS + 1, (rows, 1), generator=generator)
        response = torch.arange(TOKENS) < length
        span = response & (chance() < 0.6)
        span[0] = False
        owner = torch.arange(rows) // (rows // RECORDS)
        facts = {"there": torch.ones(rows), "reward": rewards[:rows]}
        return Scored(policy, reference, span, response, response & (chance() < 0.7), owner=owner, facts=facts)

    return leaves({name: part(RECORDS) for name in NAMES} | {name: part(2 * RECORDS) for name in ("*", "#")})


def leaves(batch: Batch) -> Batch:
    """The same with policies that gradients reach, and a flip probability of .2 in float64."""

    def leaf(part: Scored) -> Scored:
        facts = {**part.facts, "flip": torch.full_like(part.policy[:, 0], 0.2)}
        return replace(part, policy=part.policy.detach().clone().requires_grad_(), facts=facts)

    return {name: leaf(part) for name, part in batch.items()}


def entry(batch: Batch, name: str) -> Scored:
    """A sequence by name; ``*0`` is the first entry of a list of two, ``*1`` the second."""
    if name not in batch and name[0] in "*#":
        return batch[name[0]].take(torch.arange(int(name[1]), len(batch[name[0]].policy), 2))
    return batch[name]


def alone(batch: Batch) -> Iterable[Batch]:
    """Each record as a batch of its own (sequences of one row a record)."""
    for row in range(len(batch["+"].policy)):
        yield {name: part.take(torch.tensor([row])) for name, part in batch.items() if name[0] not in "*#"}


def ours(terms: Iterable[Term], batch: Batch, base: Tensor | None = None) -> Tensor:
    """medpo's loss: weighted terms, mean over records."""
    return torch.stack([term.weight * evaluate(term, batch, base).mean() for term in terms]).sum()


def gradients(batch: Batch, found: Tensor, other: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Of both losses with respect to every log-probability of the policy."""
    policies = [part.policy for part in batch.values()]
    mine, theirs = (
        torch.autograd.grad(loss, policies, allow_unused=True, materialize_grads=True) for loss in (found, other)
    )
    return list(zip(mine, theirs, strict=True))
