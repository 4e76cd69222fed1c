"""What accelerate's configuration may and may not change."""

import time

import pytest
import torch
from data.training_pairs import PAIRS, encode, engine, gradients, tiny

from medpo_cli.errors import ConfigError, TryLaterError
from medpo_cli.io.context import Context
from medpo_cli.io.rank import is_follower, is_launched
from medpo_cli.training.objectives.methods import resolve
from medpo_cli.training.processes import check_time, start_accelerator


@pytest.mark.parametrize(
    ("variable", "name"),
    [
        ("FSDP", "FSDP"),
        ("DEEPSPEED", "DeepSpeed"),
        ("MEGATRON_LM", "Megatron-LM"),
        ("PARALLELISM_CONFIG", "parallelism"),
    ],
)
def test_a_model_split_over_processes_is_refused(monkeypatch: pytest.MonkeyPatch, variable: str, name: str) -> None:
    monkeypatch.setenv(f"ACCELERATE_USE_{variable}", "true")
    with pytest.raises(ConfigError, match=f"{name} is not supported: .*--qlora.*--multi_gpu"):
        start_accelerator("cpu")
    monkeypatch.setenv(f"ACCELERATE_USE_{variable}", "false")
    assert start_accelerator("cpu").num_processes == 1


def test_accelerates_own_accumulation_and_precision_change_no_gradient(monkeypatch: pytest.MonkeyPatch) -> None:
    def gradient() -> dict[str, torch.Tensor]:
        vlm, terms = tiny("llava"), resolve("fire-mpo")
        encoder, examples = encode(vlm, terms, PAIRS)
        run = engine(vlm, terms, encoder, forest=True)
        run.accelerator = start_accelerator("cpu")
        run.accumulate(examples, 0.2)
        return gradients(vlm)

    before = gradient()
    monkeypatch.setenv("ACCELERATE_GRADIENT_ACCUMULATION_STEPS", "4")
    after = gradient()
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert start_accelerator("cpu").mixed_precision == "no"


def test_time_is_looked_at_in_one_process() -> None:
    accelerator = start_accelerator("cpu")
    check_time(Context(), accelerator)
    check_time(Context(deadline=time.monotonic() + 60), accelerator)
    with pytest.raises(TryLaterError):
        check_time(Context(deadline=time.monotonic() - 1), accelerator)


@pytest.mark.parametrize(
    ("environment", "launched", "follower"),
    [
        ({}, False, False),
        ({"RANK": "1"}, False, False),  # another program's variable
        ({"LOCAL_RANK": "0", "RANK": "0", "WORLD_SIZE": "1"}, False, False),
        ({"LOCAL_RANK": "0", "RANK": "0", "WORLD_SIZE": "2"}, True, False),
        ({"LOCAL_RANK": "1", "RANK": "1", "WORLD_SIZE": "2"}, True, True),
        ({"LOCAL_RANK": "0", "RANK": "8", "WORLD_SIZE": "16"}, True, True),  # first of the second machine
    ],
)
def test_the_first_process_speaks(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], launched: bool, follower: bool
) -> None:
    for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert (is_launched(), is_follower()) == (launched, follower)
