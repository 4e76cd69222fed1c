"""Exploding gradients and the alarm on the chosen reward, on made-up series."""

import math
from typing import Any

import numpy as np
import pytest
from data.step_records import step

from medpo_cli.errors import ConfigError, UnavailableError
from medpo_cli.schema.config import AlignConfig
from medpo_cli.schema.records import Step
from medpo_cli.training.batches import Example
from medpo_cli.training.objectives.methods import resolve
from medpo_cli.training.watch import check_start, check_step, chosen_falls, usual_norm

BATCH = [Example("a", ()), Example("b", ())]


def history(norms: list[float]) -> list[Step]:
    return [step(i + 1, grad_norm=norm) for i, norm in enumerate(norms)]


def check(norm: float, norms: list[float], loss: float = 0.7, **settings: Any) -> None:
    check_step(norm, loss, history(norms), BATCH, AlignConfig(**settings))


def test_usual_norm_is_the_median_of_the_last_fifty_at_least_the_clipping_norm() -> None:
    assert usual_norm(history([9.0] * 100 + [2.0] * 26 + [4.0] * 24), 1.0) == 2.0
    assert usual_norm(history([1e-6] * 50), 1.0) == 1.0
    assert usual_norm(history([1e-6] * 50), 0.3) == 0.3
    assert usual_norm(history([2.0] * 9), 1.0) == math.inf  # too few to know
    assert usual_norm(history([2.0] * 10), 1.0) == 2.0


@pytest.mark.parametrize(
    ("norm", "norms", "settings"),
    [
        (1999.0, [2.0] * 20, {}),  # 999.5 times the usual
        (900.0, [1e-6] * 60, {}),  # all pairs were learned; this one is not, and clipping holds it
        (1e9, [2.0] * 9, {}),  # warm-up
        (1e9, [2.0] * 60, {"max_grad_growth": 0.0}),
        (29.0, [2.0] * 60, {"max_grad_growth": 15.0}),
    ],
)
def test_harmless_gradients_pass(norm: float, norms: list[float], settings: dict[str, float]) -> None:
    check(norm, norms, **settings)


def test_an_exploding_gradient_stops_and_names_the_records() -> None:
    with pytest.raises(ConfigError, match=r"exploded \(norm 2100, 1050 times the usual\) at step 21 .*a, b"):
        check(2100.0, [2.0] * 20)
    with pytest.raises(ConfigError, match=r"norm 31, 15.5 times .*lower lr"):
        check(31.0, [2.0] * 60, max_grad_growth=15.0)


@pytest.mark.parametrize(("norm", "loss"), [(math.nan, 1.0), (math.inf, 1.0), (1.0, math.nan)])
def test_what_is_not_finite_stops_from_the_first_step_on(norm: float, loss: float) -> None:
    with pytest.raises(ConfigError, match=r"diverged at step 1 \(records a, b\)"):
        check(norm, [], loss, max_grad_growth=0.0)


def series(chosen: tuple[float, float], margin: tuple[float, float], noise: float = 0.3, steps: int = 40) -> list[Step]:
    """Rewards whose mean goes from the first to the second number, halfway, under seeded noise."""
    rng = np.random.default_rng(0)
    half = steps // 2
    return [
        step(
            i + 1,
            rewards={"chosen": chosen[i >= half] + noise * rng.normal(), "rejected": 0.0},
            margin=margin[i >= half] + noise * rng.normal(),
        )
        for i in range(steps)
    ]


def test_the_alarm_needs_a_falling_chosen_reward_and_a_growing_margin() -> None:
    assert chosen_falls(series((0.0, -1.0), (0.5, 1.5)))
    assert not chosen_falls(series((0.0, 1.0), (0.5, 1.5)))
    assert not chosen_falls(series((0.0, -1.0), (1.5, 0.5)))
    assert not chosen_falls(series((0.0, -0.02), (0.5, 0.52)))  # noise
    assert not chosen_falls(series((0.0, -1.0), (0.5, 1.5))[1:])  # 39 steps
    assert chosen_falls([*series((0.0, 5.0), (0.0, 0.0)), *series((0.0, -1.0), (0.5, 1.5))])  # only the last 40 count


def test_a_steady_run_gives_no_alarm() -> None:
    flat = series((0.0, 0.0), (1.0, 1.0), steps=1000)
    assert sum(chosen_falls(flat[:n]) for n in range(1, 1001)) == 0
    assert not chosen_falls([step(i, rewards={"chosen": 0.0, "rejected": 0.0}) for i in range(40)])  # no spread at all
    assert not chosen_falls([step(i, rewards={}) for i in range(40)])  # sft has no rewards


@pytest.mark.parametrize(
    ("method", "chosen", "settings", "expected"),
    [
        ("fire-mpo", 0.0, {}, ""),
        ("fire-mpo", -1e-4, {}, "policy and reference differ by 1.0e-04"),
        ("perpo", 0.0, {}, ""),
        ("sft", 9.0, {}, ""),  # no reference
        ("simpo", 9.0, {}, ""),
        ("mrpo", 9.0, {}, ""),  # two references
        ("dpo", 9.0, {"adapter": "a", "lora_dropout": 0.1}, ""),
    ],
)
def test_rewards_before_the_first_step_are_zero(
    method: str, chosen: float, settings: dict[str, Any], expected: str
) -> None:
    found = check_start({"chosen": chosen, "rejected": 0.0}, resolve(method), AlignConfig(**settings))
    assert found.startswith(expected)
    assert bool(found) is bool(expected)


def test_another_reference_stops_the_first_step() -> None:
    for means in ({"chosen": 0.2, "rejected": 0.0}, {"chosen": 0.0, "rejected": -0.2}):
        with pytest.raises(UnavailableError, match="policy and reference differ before the first step"):
            check_start(means, resolve("dpo"), AlignConfig())
