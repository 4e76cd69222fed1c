"""medpo's engine against TRL's trainers on a tiny LLaVA: the same folders, records and pictures, in float32.

TRL goes its own way all through: chat template, vision collator, padded batch, fused head, a second model as the
reference. The adapter is not 0, so that policy and reference differ.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from data.training_pairs import PAIRS, tiny
from tiny_llava import Folders, Result, Trl, message, of_medpo, photo, preference

from medpo_cli.schema.records import Pair, Span
from medpo_cli.training.objectives.methods import resolve

pytestmark = pytest.mark.oracle
BOUND = 1e-5  # float32 throughout, sums of some ten tokens; relative where a value exceeds 1
CORRUPTED = [pair for pair in PAIRS if pair.corrupted]
Check = Callable[..., None]


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Folders:
    return Folders.made(tmp_path_factory.mktemp("llava"), scale=3.0)


def masks(pairs: Sequence[Pair], scope: str = "span") -> list[list[bool]]:
    """Tokens of all chosen answers, then of all rejected ones; ``text`` is everything but the end token."""
    vlm, found = tiny("llava"), []
    for side in ("chosen", "rejected"):
        for pair in pairs:
            text = getattr(pair, side)
            spans = [getattr(span, side) for span in pair.spans]
            inside = {i for start, end in spans for i in range(start, end) if text[i] != " "}
            offsets = vlm.encode_answer(text).offsets
            if scope == "span":
                found.append([bool(inside & set(range(start, end))) for start, end in offsets])
            else:
                found.append([start < end or scope == "response" for start, end in offsets])
    return found


def dpo(folders: Folders, pairs: Sequence[Pair], scope: str = "response", **settings: Any) -> Trl:
    """TRL's DPO trainer on these pairs, with the tokens of ``scope`` as completions."""
    run = Trl("DPO", folders, [preference(pair) for pair in pairs], **settings)
    vlm = tiny("llava")
    texts = [getattr(pair, side) for side in ("chosen", "rejected") for pair in pairs]
    assert run.answers() == [vlm.encode_answer(text).ids.tolist() for text in texts]
    run.keep(masks(pairs, scope))
    return run


def swapped(pair: Pair) -> Pair:
    """The visual term as a pair: the corrupted image, on which the rejected answer is preferred."""
    assert pair.corrupted
    spans = [msgspec.structs.replace(span, chosen=span.rejected, rejected=span.chosen) for span in pair.spans]
    return msgspec.structs.replace(
        pair, image=pair.corrupted.image, chosen=pair.rejected, rejected=pair.chosen, spans=spans
    )


def compare(name: str, found: Result, wanted: Result, agree: Check, *, rewards: bool = True) -> None:
    """Loss, gradient of every adapter, and the rewards and margin that both log."""
    assert found.gradients.keys() == wanted.gradients.keys()
    scale = max(float(slope.abs().max()) for slope in wanted.gradients.values())
    slopes = [(found.gradients[key] / scale, slope / scale) for key, slope in wanted.gradients.items()]
    agree(f"llava: {name}", found.loss, wanted.loss, BOUND, slopes)
    if rewards:
        ours, theirs = (
            torch.stack([side.chosen, side.rejected, side.chosen - side.rejected]) for side in (found, wanted)
        )
        assert abs(ours[2]) > 100 * BOUND
        agree(f"llava: {name}: rewards, margin", ours, theirs, BOUND)


@pytest.mark.parametrize("forest", [True, False], ids=["forest", "plain"])
@pytest.mark.parametrize(
    ("method", "loss_type", "scope"),
    [
        ("dpo", "sigmoid", "response"),
        ("mask-dpo", "sigmoid", "span"),
        ("ipo", "ipo", "response"),
        ("hinge", "hinge", "response"),
        ("nca", "nca_pair", "response"),
        ("apo-zero", "apo_zero", "response"),
        ("apo-down", "apo_down", "response"),
        ("sppo", "sppo_hard", "response"),
    ],
)
def test_pairs(folders: Folders, method: str, loss_type: str, scope: str, forest: bool, agree: Check) -> None:
    run = dpo(folders, PAIRS, scope, loss_type=[loss_type])
    wanted = run.result(run.loss())
    found = of_medpo(folders, resolve(method), PAIRS, forest=forest)
    compare(method, found, wanted, agree, rewards=method != "ipo")  # medpo logs IPO's token means, TRL sums


def test_a_plain_dpo_preset(folders: Folders, agree: Check) -> None:
    """Spans over the whole text. The end token is in no span, so TRL leaves it out as well."""
    spans = [
        Span(kind="other", chosen=(0, len(p.chosen)), rejected=(0, len(p.rejected)), source="rule", confidence=1.0)
        for p in PAIRS
    ]
    pairs = [msgspec.structs.replace(pair, spans=[span]) for pair, span in zip(PAIRS, spans, strict=True)]
    run = dpo(folders, pairs, "text")
    found = of_medpo(folders, resolve("fire-mpo", gamma=0.0, alpha=0.0), pairs)
    compare("fire-mpo gamma=0 alpha=0, full mask", found, run.result(run.loss()), agree)


@pytest.mark.parametrize("preset", [False, True], ids=["method", "preset"])
def test_rrpo(folders: Folders, preset: bool, agree: Check) -> None:
    run = dpo(folders, PAIRS, "span")
    loss = run.loss() + 0.01 * run.divergence(1.0, masks(PAIRS, "response")[: len(PAIRS)])
    terms = resolve("fire-mpo", gamma=0.0, kl_forward=1.0, kl_scope="response") if preset else resolve("rrpo")
    compare("rrpo, KL by torch.distributions", of_medpo(folders, terms, PAIRS), run.result(loss), agree)


@pytest.mark.parametrize("forest", [True, False], ids=["forest", "plain"])
@pytest.mark.parametrize(("gamma", "alpha"), [(None, 0.0), (None, None), (1.0, 1.0)])
def test_fire_mpo(folders: Folders, gamma: float | None, alpha: float | None, forest: bool, agree: Check) -> None:
    """Rank by TRL on v, the visual term by TRL on v' with the roles swapped, the KL by torch.distributions."""
    rank, visual = dpo(folders, CORRUPTED, "span"), dpo(folders, [swapped(pair) for pair in CORRUPTED], "span")
    kl = rank.divergence(0.5, masks(CORRUPTED)[: len(CORRUPTED)])
    wanted, shown = rank.result(rank.loss() + (0.01 if alpha is None else alpha) * kl), visual.loss()
    weight = 0.1 if gamma is None else gamma
    slopes = {key: wanted.gradients[key] + weight * slope for key, slope in visual.slopes(shown).items()}
    wanted = replace(wanted, loss=wanted.loss + weight * shown, gradients=slopes)
    found = of_medpo(folders, resolve("fire-mpo", gamma=gamma, alpha=alpha), CORRUPTED, forest=forest)
    compare(f"fire-mpo gamma={weight} alpha={0.01 if alpha is None else alpha}", found, wanted, agree)


@pytest.mark.parametrize("scale", [0.3, 3.0])
def test_kto(scale: float, tmp_path: Path, agree: Check) -> None:
    """Unpaired answers. TRL takes the answer of the row before for its KL, medpo of the record after: rows reversed."""
    sides = ["chosen", "rejected", "chosen", "chosen", "rejected"]
    pairs = [msgspec.structs.replace(p, ext={"align": {"only": side}}) for p, side in zip(PAIRS, sides, strict=True)]
    rows = [
        {
            "images": [photo(pair.images[0])],
            "prompt": message("user", pair.prompt),
            "completion": message("assistant", getattr(pair, side)),
            "label": side == "chosen",
        }
        for pair, side in reversed(list(zip(pairs, sides, strict=True)))
    ]
    folders = Folders.made(tmp_path, scale)
    run = Trl("KTO", folders, rows)
    wanted = run.result(run.loss())
    found = of_medpo(folders, resolve("kto"), pairs)
    found = replace(found, chosen=found.chosen * 5 / 3, rejected=found.rejected * 5 / 2)  # a mean over their own sides
    compare("kto", found, wanted, agree)
    assert (run.trainer._metrics["train"]["kl"][-1] > 0) is (scale < 1)  # both sides of the clamp at 0
