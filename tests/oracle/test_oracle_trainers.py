"""Methods whose TRL trainer is another one than DPO's: KTO on log-probabilities, SimPO and ORPO from logits."""

from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from data.toy import POLICY
from sequences import Batch, gradients, ours, random_batch, toy_pairs
from torch import Tensor
from trl_losses import kto, orpo, simpo

from medpo_cli.schema.objectives import KTO, Rank
from medpo_cli.training.objectives.methods import resolve
from medpo_cli.training.objectives.scored import Scored

pytestmark = pytest.mark.oracle
EXACT = 1e-12
SINGLE = 1e-6  # ORPO's odds in TRL: float32, whatever the logits are
Check = Callable[..., None]
Case = tuple[Tensor, Tensor, Tensor]
"""Logits [2B, S, V], ids [2B, S], answer lengths [2B]; chosen rows first."""


def joined(*parts: Scored) -> Scored:
    columns = ("policy", "reference", "span", "response")
    return Scored(*(torch.cat([getattr(part, name) for part in parts]) for name in columns))


def z(batch: Batch) -> Tensor:
    """The mean log-ratio of the mismatched answers, at least 0."""
    return batch["'+"].log_ratio("response").detach().mean().clamp_min(0.0)


@pytest.mark.parametrize("weights", [(1.0, 1.0), (1.5, 0.5)])
@pytest.mark.parametrize("seed", ["toy", 0, 1, 2, 3])
def test_kto_on_pairs(seed: int | str, weights: tuple[float, float], agree: Check) -> None:
    batch = toy_pairs() if isinstance(seed, str) else random_batch(seed)
    good = torch.arange(2 * len(batch["+"].policy)) < len(batch["+"].policy)
    terms = resolve("kto") if weights == (1.0, 1.0) else (KTO(desirable=weights[0], undesirable=weights[1]),)
    found = ours(terms, batch, z(batch))
    other = kto(joined(batch["+"], batch["-"]), good, batch["'+"], weights=weights)
    agree(f"kto on pairs {weights}", found, other, EXACT, gradients(batch, found, other))


def test_the_seeds_above_have_a_kl_on_both_sides_of_0() -> None:
    assert {z(random_batch(seed)).item() > 0 for seed in range(4)} == {True, False}


def test_kto_on_unpaired_answers(agree: Check) -> None:
    batch = random_batch(1)
    good = torch.tensor([True, False, False, True, False])
    for name, there in (("+", good), ("-", ~good)):
        batch[name] = replace(batch[name], facts={**batch[name].facts, "there": there.double()})
    found = ours(resolve("kto"), batch, z(batch))
    answers = joined(batch["+"].take(good.nonzero()[:, 0]), batch["-"].take((~good).nonzero()[:, 0]))
    other = kto(answers, torch.tensor([True, True, False, False, False]), batch["'+"])
    agree("kto on unpaired answers", found, other, EXACT, gradients(batch, found, other))


def random_logits(prompt: int = 1) -> Case:
    generator = torch.Generator().manual_seed(0)
    rows, size, words = 8, 7, 5
    logits = 2 * torch.randn(rows, prompt + size, words, generator=generator).double()
    ids = torch.randint(words, (rows, prompt + size), generator=generator)
    return logits.requires_grad_(), ids, torch.randint(1, size + 1, (rows,), generator=generator)


def toy_logits() -> Case:
    rows = torch.tensor([[*POLICY[name], POLICY[name][0]] for name in ("+", "-")]).double().log()
    return rows.requires_grad_(), torch.zeros(2, 4, dtype=torch.long), torch.tensor([3, 3])


def scored(case: Case, prompt: int = 1) -> Batch:
    """Chosen and rejected as medpo reads them: the row before a token predicts it."""
    logits, ids, lengths = case
    at = logits[:, :-1].log_softmax(-1).gather(2, ids[:, 1:, None])[:, prompt - 1 :, 0]
    response = torch.arange(at.shape[1]) < lengths[:, None]
    halves = zip(at.chunk(2), response.chunk(2), strict=True)
    return {name: Scored(rows, rows.detach(), there, there) for name, (rows, there) in zip("+-", halves, strict=True)}


def slopes(case: Case, found: Tensor, other: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Gradients with respect to the logits."""
    mine, theirs = (torch.autograd.grad(loss, case[0], retain_graph=True)[0] for loss in (found, other))
    return [(mine, theirs)]


def one_by_one(case: Case) -> list[Case]:
    """Each record alone."""
    half = len(case[1]) // 2
    return [tuple(part[[row, row + half]] for part in case) for row in range(half)]  # type: ignore[misc]


@pytest.mark.parametrize("make", [toy_logits, random_logits])
def test_simpo(make: Callable[[], Case], agree: Check) -> None:
    case = make()
    found, other = ours(resolve("simpo"), scored(case)), simpo(*case, beta=2.0, margin=1.0)
    agree("simpo", found, other, EXACT, slopes(case, found, other))
    term = Rank(norm="mean", reference=False, margin=0.5)
    found, other = ours([term], scored(case)), simpo(*case, beta=0.1, margin=0.5)
    agree("simpo, TRL's defaults", found, other, EXACT, slopes(case, found, other))


@pytest.mark.parametrize("make", [toy_logits, random_logits])
def test_orpo(make: Callable[[], Case], agree: Check) -> None:
    """One record a batch: TRL's NLL is a mean over the tokens of a batch, medpo's over records."""
    case = make()
    found = ours(resolve("orpo"), scored(case))
    other = torch.stack([orpo(*one, beta=0.1) for one in one_by_one(case)]).mean()
    agree("orpo", found, other, SINGLE, slopes(case, found, other))


def test_the_nll_of_orpo_covers_the_prompt_in_trl_and_the_answer_alone_in_medpo(agree: Check) -> None:
    prompt = 3
    for one in one_by_one(random_logits(prompt)):
        logits, ids, lengths = one
        answer = scored(one, prompt)["+"]
        tokens = torch.arange(1, prompt + int(lengths[0]))
        likelihood = -logits[0, tokens - 1].log_softmax(-1)[torch.arange(len(tokens)), ids[0, tokens]]
        prompt_too = likelihood.mean() - likelihood[prompt - 1 :].mean()
        assert likelihood[prompt - 1 :].mean().item() == pytest.approx(-answer.policy[answer.response].mean().item())
        found = ours(resolve("orpo"), scored(one, prompt)) + prompt_too
        other = orpo(*one, beta=0.1, prompt=prompt)
        agree("orpo + NLL of a prompt of 3 tokens", found, other, SINGLE, slopes(one, found, other))
