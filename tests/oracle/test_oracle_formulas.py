"""medpo's objectives against TRL's loss code, in float64, on the toy and on random log-probabilities.

Left out: BCO, which is no method of medpo (TRL's own carries a running mean as state); terms that TRL does not
have (KL, token weights, TDPO, MRPO, PAPO, P3O, SPO, SymMPO's margin, lists of more than two).
"""

from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from sequences import Batch, alone, entry, full_mask, gradients, ours, random_batch, toy_pairs, toy_twins
from torch import Tensor
from trl_losses import dpo

from medpo_cli.schema.objectives import Rank, Scope, Term
from medpo_cli.training.objectives.methods import resolve

pytestmark = pytest.mark.oracle
EXACT = 1e-12
BATCHES: dict[str, Callable[[], Batch]] = {"toy": toy_pairs, "random": random_batch}
Check = Callable[..., None]
Oracle = Callable[[Batch], Tensor]


def pair(*losses: str, **settings: Any) -> Oracle:
    """TRL's losses on chosen and rejected."""
    return lambda batch: dpo(batch["+"], batch["-"], *losses, **settings)


def each(loss: Oracle) -> Oracle:
    """The mean over records that TRL sees one at a time."""
    return lambda batch: torch.stack([loss(one) for one in alone(batch)]).mean()


def total(*parts: tuple[float, str, str | None], scope: Scope = "response") -> Oracle:
    """TRL's sigmoid loss on other sequences: (weight, better, worse), None where an anchor has nothing to beat."""

    def loss(batch: Batch) -> Tensor:
        values = [
            weight * dpo(entry(batch, better), entry(batch, worse) if worse else None, scope=scope)
            for weight, better, worse in parts
        ]
        return torch.stack(values).sum()

    return loss


# method, settings, TRL's loss. TRL's `sft` is the mean over all tokens of a batch and its `aot` sorts a batch: both
# equal the mean over records only where a batch is one record.
LOSSES: list[tuple[str, dict[str, float], Oracle]] = [
    ("dpo", {}, pair("sigmoid")),
    ("dpo", {"beta": 0.5}, pair("sigmoid", beta=0.5)),
    ("ipo", {}, pair("ipo")),
    ("hinge", {}, pair("hinge")),
    ("robust", {}, pair("robust", smoothing=0.2)),
    ("nca", {}, pair("nca_pair")),
    ("apo-zero", {}, pair("apo_zero")),
    ("apo-down", {}, pair("apo_down")),
    ("sppo", {}, pair("sppo_hard")),
    ("sft", {}, each(pair("sft"))),
    ("rpo", {}, each(pair("sigmoid", "sft", weights=(1.0, 0.2), beta=0.5))),
    ("rosepo", {}, each(pair("aot", smoothing=0.2))),
    ("mask-dpo", {}, pair("sigmoid", scope="span")),
    ("mask-dpo-sentence", {}, pair("sigmoid", scope="sentence")),
    ("fire-mpo", {"alpha": 0.0, "gamma": 0.0}, pair("sigmoid", scope="span")),
    ("fire-mpo", {"alpha": 0.0}, total((1.0, "+", "-"), (0.1, "'-", "'+"), scope="span")),
    ("fire-mpo-v1", {"alpha": 0.0}, total((1.0, "+", "-"), (0.1, "+", "'+"), scope="span")),
    ("fire-mpo-v2", {"alpha": 0.0}, total((1.0, "+", "-"), (0.1, "+", "'-"), scope="span")),
    ("rrpo", {"alpha": 0.0}, pair("sigmoid", scope="span")),
    ("s-dpo", {}, lambda batch: dpo(entry(batch, "*0"), entry(batch, "*1"), beta=1.0)),
    ("perpo", {}, total((1.0, "*0", "*1"))),
    ("lpoi", {}, total((1.0, "+", "-"), (1.0, "#0", "#1"), (1.0, "+", None))),
    ("mdpo", {}, total((1.0, "+", "-"), (1.0, "+", "'+"), (1.0, "+", None))),
    ("mmedpo", {}, total((1.0, "+", "-"), (1.0, "+", "'+"))),
]


def compare(name: str, terms: Iterable[Term], wanted: Oracle, batch: Batch, agree: Check) -> None:
    """Loss and gradients of ``terms`` equal those of TRL."""
    found, other = ours(terms, batch), wanted(batch)
    slopes = gradients(batch, found, other)
    assert any(mine.any() for mine, _ in slopes)
    agree(name, found, other, EXACT, slopes)


@pytest.mark.parametrize("data", BATCHES)
@pytest.mark.parametrize(
    ("method", "settings", "wanted"), LOSSES, ids=[f"{row[0]}-{i}" for i, row in enumerate(LOSSES)]
)
def test_methods(method: str, settings: dict[str, Any], wanted: Oracle, data: str, agree: Check) -> None:
    name = " ".join([method, *(f"{key}={value}" for key, value in settings.items())])
    compare(name, resolve(method, **settings), wanted, BATCHES[data](), agree)


COMPOSED: dict[str, tuple[Term, Oracle]] = {
    "rank, norm = mean": (Rank(norm="mean"), pair("sigmoid_norm")),
    "rank, norm = mean, beta = 2, span": (
        Rank(norm="mean", beta=2.0, scope="span"),
        pair("sigmoid_norm", beta=2.0, scope="span"),
    ),
    "rank, link = hinge, span": (Rank(link="hinge", scope="span"), pair("hinge", scope="span")),
}


@pytest.mark.parametrize("data", BATCHES)
@pytest.mark.parametrize("name", COMPOSED)
def test_composed_terms(name: str, data: str, agree: Check) -> None:
    term, wanted = COMPOSED[name]
    compare(name, [term], wanted, BATCHES[data](), agree)


@pytest.mark.parametrize("data", [toy_twins, random_batch])
def test_sympo_without_its_margin(data: Callable[[], Batch], agree: Check) -> None:
    terms = [term for term in resolve("sympo") if term.key != "margin"]
    parts = ((1.0, "+", "-"), (0.5, "+", "2"), (0.5, "2:2", "2:+"), (1.0, "+", None), (1.0, "2:2", None))
    compare("sympo without margin", terms, total(*parts), data(), agree)


def test_opa_dpo(agree: Check) -> None:
    parts = ((1.0, "+", "-"), (1.0, "r", "-"), (0.2, "+", "'+"), (0.2, "r", "'r"), (1.0, "+", None), (1.0, "r", None))
    compare("opa-dpo", resolve("opa-dpo"), total(*parts), random_batch(), agree)


@pytest.mark.parametrize("data", BATCHES)
def test_preset_of_plain_dpo(data: str, agree: Check) -> None:
    batch = full_mask(BATCHES[data]())
    terms = resolve("fire-mpo", gamma=0.0, alpha=0.0)
    compare("fire-mpo gamma=0 alpha=0, full mask", terms, pair("sigmoid"), batch, agree)


def test_presets_of_rrpo_and_mask_dpo() -> None:
    assert resolve("fire-mpo", gamma=0.0, kl_forward=1.0, kl_scope="response") == resolve("rrpo")
    assert resolve("fire-mpo", gamma=0.0, alpha=0.0) == resolve("mask-dpo")


def test_sft_of_a_batch_is_a_mean_over_tokens_in_trl_and_over_records_in_medpo() -> None:
    batch = random_batch()
    by_record, by_token = ours(resolve("sft"), batch), pair("sft")(batch)
    chosen = batch["+"]
    assert by_token.item() == pytest.approx(-chosen.policy[chosen.response].mean().item(), abs=EXACT)
    assert abs((by_record - by_token).item()) > 1e-3  # answers of different lengths
