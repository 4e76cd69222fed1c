"""Which pairs are held out, what is measured on them, which step was best."""

import math
from typing import Any

import msgspec
import pytest
import torch
from data.step_records import step
from data.training_pairs import PAIRS, encode, engine, tiny

from medpo_cli.errors import BadInputError, ConfigError
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.lora import add_lora
from medpo_cli.models.tiny import build_llava
from medpo_cli.schema.config import AlignConfig
from medpo_cli.schema.records import Pair
from medpo_cli.training.heldout import HeldOut, best_step, choose, measurements_since_best, set_dropout
from medpo_cli.training.objectives.methods import resolve


def grouped(*sizes: int) -> list[Pair]:
    return [msgspec.structs.replace(PAIRS[0], group=f"g{g}") for g, size in enumerate(sizes) for _ in range(size)]


@pytest.mark.parametrize("share", [0.1, 0.25, 0.5])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_whole_groups_up_to_the_share(share: float, seed: int) -> None:
    records = grouped(*[1, 2, 3, 4] * 10)
    chosen = choose(records, share, seed)
    assert 100 * share - 4 < len(chosen) <= 100 * share
    names = {records[i].group for i in chosen}
    assert chosen == {i for i, record in enumerate(records) if record.group in names}


def test_the_choice_depends_on_names_and_seed_alone() -> None:
    records = grouped(*[2] * 20)
    assert choose(records, 0.3, 0) == choose(records, 0.3, 0)
    assert choose(records, 0.3, 0) != choose(records, 0.3, 1)
    mirrored = {39 - i for i in choose(records[::-1], 0.3, 0)}
    assert mirrored == choose(records, 0.3, 0)
    assert choose(records, 0.0, 0) == set()


def test_without_a_group_the_image_decides() -> None:
    chosen = choose(PAIRS, 0.5, 0)  # "one" and "many" show a.png
    assert len({0, 1} & chosen) in (0, 2)
    assert 1 <= len(chosen) <= 2


def test_groups_larger_than_the_share() -> None:
    assert choose(grouped(5, 3, 4), 0.1, 0) == {5, 6, 7}  # the smallest
    with pytest.raises(BadInputError, match="all pairs are of one group"):
        choose(grouped(7), 0.2, 0)


def held(every: int = 0, dropout: float = 0.0, **settings: Any) -> HeldOut:
    model, processor = build_llava()
    vlm = VisionLanguageModel(model.requires_grad_(False), processor, name="x", digest="0" * 64)
    add_lora(vlm, rank=4, alpha=8.0, dropout=dropout, seed=0)
    with torch.no_grad():
        for name, parameter in vlm.model.named_parameters():
            if "lora_B" in name:
                parameter.fill_(0.02)
    set_dropout(vlm, on=True)
    terms = resolve("fire-mpo")
    encoder, examples = encode(vlm, terms, PAIRS)
    config = AlignConfig(held_out=0.5, held_out_every=every, batch=2, **settings)
    return HeldOut(engine(vlm, terms, encoder, forest=True), examples, config, per_epoch=4, total=10)


def test_when_it_is_measured() -> None:
    assert [n for n in range(1, 11) if held().due(n)] == [4, 8, 10]
    assert [n for n in range(1, 11) if held(every=3).due(n)] == [3, 6, 9, 10]
    nothing = held(every=3)
    nothing.examples = []
    assert not any(nothing.due(n) for n in range(1, 11))


def test_measured_numbers_are_those_of_training_without_gradients() -> None:
    measure = held()
    found = measure.added_to(step(1))
    assert {parameter.grad for parameter in measure.engine.vlm.model.parameters()} == {None}
    tally = measure.engine.accumulate(measure.examples, 1.0)
    sums = {name: float(value) for name, value in tally.sums.items()}
    assert found.terms["held-out/loss"] == pytest.approx(sums["loss"] / 5, abs=1e-6)
    assert found.terms["held-out/accuracy"] == sums["accuracy"] / 5
    assert found.terms["held-out/margin"] == pytest.approx((sums["chosen"] - sums["rejected"]) / 5, abs=1e-6)
    assert found.terms.items() >= step(1).terms.items()


def test_dropout_is_off_while_measuring_and_on_again() -> None:
    measure = held(dropout=0.5)
    first, second = (measure.added_to(step(1)).terms["held-out/loss"] for _ in range(2))
    assert first == second
    modules = [m for n, m in measure.engine.vlm.model.named_modules() if n.endswith("lora_dropout.default")]
    assert modules
    assert all(module.training for module in modules)
    assert float(measure.engine.evaluate(measure.examples).sums["loss"]) != float(
        measure.engine.evaluate(measure.examples).sums["loss"]
    )


def test_a_held_out_loss_that_is_not_finite_stops() -> None:
    measure = held()
    with torch.no_grad():
        next(p for n, p in measure.engine.vlm.model.named_parameters() if "lora_B" in n).fill_(math.nan)
    with pytest.raises(ConfigError, match="held-out loss is not finite after step 3"):
        measure.added_to(step(3))


def test_the_first_of_equal_losses_is_the_best() -> None:
    losses = {2: 0.7, 4: 0.5, 6: 0.6, 8: 0.5}
    history = [step(n, terms={"held-out/loss": losses[n]} if n in losses else {}) for n in range(1, 10)]
    assert best_step(history) == 4
    assert [measurements_since_best(history[:n]) for n in range(10)] == [0, 0, 0, 0, 0, 0, 1, 1, 2, 2]
    assert best_step(history[:1]) == 0


@torch.no_grad()
def test_logps_are_sums_over_the_needed_tokens() -> None:
    vlm, terms = tiny("llava"), resolve("dpo")
    encoder, examples = encode(vlm, terms, PAIRS[:2])
    run = engine(vlm, terms, encoder, forest=True)
    sums = run.evaluate(examples).sums
    chosen = rejected = 0.0
    for example in examples:
        for unit in example.units:
            prompt = torch.tensor(unit.answers[0].prompt.tokens.ids)
            features = run.features.get([unit.answers[0].prompt])
            for answer in unit.answers:
                ids = torch.cat([prompt, torch.tensor(answer.ids)])
                logits = vlm.forward(ids[None], features=features)[0, len(prompt) - 1 : -1]
                total = float(logits.log_softmax(-1).gather(-1, torch.tensor(answer.ids)[:, None]).sum())
                chosen, rejected = (chosen + total, rejected) if answer.name == "+" else (chosen, rejected + total)
    assert float(sums["logps/chosen"]) == pytest.approx(chosen, abs=1e-4)
    assert float(sums["logps/rejected"]) == pytest.approx(rejected, abs=1e-4)
