"""Schedules, checkpoints, the guards at the start."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from data.training_pairs import PAIRS, encode, engine, tiny

from medpo_cli.errors import BadInputError, CannotCreateError, ConfigError, UnavailableError
from medpo_cli.io.context import Silent
from medpo_cli.schema.config import AlignConfig
from medpo_cli.training import verify
from medpo_cli.training.batches import Example
from medpo_cli.training.checkpoint import Checkpoints, replace_folder
from medpo_cli.training.features import FeatureCache
from medpo_cli.training.loop import _require_gradients
from medpo_cli.training.memory import token_budget
from medpo_cli.training.objectives.methods import resolve
from medpo_cli.training.optimizer import MasterOptimizer
from medpo_cli.training.schedule import batch_of, learning_rate, steps_in
from medpo_cli.training.verify import choose_forest


class Notes(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, message: str) -> None:
        self.lines.append(message)


def test_every_record_comes_once_an_epoch_in_a_seeded_order() -> None:
    examples = [Example(str(i), ()) for i in range(10)]
    config = AlignConfig(batch=4, epochs=2, seed=3)
    assert steps_in(10, config) == 6  # 4 + 4 + 2, twice
    epochs = [[e.id for step in steps for e in batch_of(examples, step, config)] for steps in (range(3), range(3, 6))]
    assert [sorted(epoch, key=int) for epoch in epochs] == [[str(i) for i in range(10)]] * 2
    assert epochs[0] != epochs[1]
    assert len(batch_of(examples, 2, config)) == 2
    assert epochs[0] == [e.id for step in range(3) for e in batch_of(examples, step, config)]
    other = AlignConfig(batch=4, epochs=2, seed=4)
    assert epochs[0] != [e.id for step in range(3) for e in batch_of(examples, step, other)]


@pytest.mark.parametrize(("epochs", "steps"), [(1.0, 3), (0.5, 2), (0.01, 1), (2.5, 8)])
def test_parts_of_an_epoch(epochs: float, steps: int) -> None:
    assert steps_in(10, AlignConfig(batch=4, epochs=epochs)) == steps


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [  # 2 of 10 steps warm up: 1/2, 2/2; then progress 0/8 .. 7/8
        ("constant", [0.5, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
        ("linear", [0.5, 1, 1, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125]),
        ("cosine", [0.5, 1, 1, 0.961940, 0.853553, 0.691342, 0.5, 0.308658, 0.146447, 0.038060]),
    ],
)
def test_learning_rates(schedule: Any, expected: list[float]) -> None:
    config = AlignConfig(schedule=schedule, warmup=0.2, lr=2.0)
    assert [learning_rate(step, 10, config) / 2 for step in range(10)] == pytest.approx(expected, abs=1e-6)


def checkpoints(folder: Path, fingerprint: str = "f") -> Checkpoints:
    optimizer = MasterOptimizer(tiny("llava"), "adamw", 0.1)
    for parameter in optimizer.masters.values():
        parameter.grad = torch.ones_like(parameter)
    optimizer.step()
    return Checkpoints(folder, optimizer, fingerprint, keep_last=2)


def test_checkpoint_restores_weights_and_moments(tmp_path: Path) -> None:
    saved = checkpoints(tmp_path)
    assert saved.restore() == 0
    saved.save(7)
    kept = saved.optimizer.state()
    assert kept["optimizer/0/step"] == 1
    assert kept["optimizer/0/exp_avg"].any()
    for parameter in saved.optimizer.masters.values():
        parameter.grad = torch.ones_like(parameter)
    saved.optimizer.step()
    assert not torch.equal(saved.optimizer.state()["optimizer/0/exp_avg"], kept["optimizer/0/exp_avg"])
    assert saved.restore() == 7
    restored = saved.optimizer.state()
    assert restored.keys() == kept.keys()
    assert all(torch.equal(restored[name], tensor) for name, tensor in kept.items())


def test_only_the_last_checkpoints_stay(tmp_path: Path) -> None:
    saved = checkpoints(tmp_path)
    for step in (1, 5, 10, 200):
        saved.save(step)
        if step == 5:  # as kill -9 leaves one that is being removed, and one that is being written
            (tmp_path / "step-000001" / "state.json").unlink()
            (tmp_path / ".step-000007.new").mkdir()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step-000010", "step-000200"]
    saved.clear()
    assert list(tmp_path.iterdir()) == []


def test_foreign_and_damaged_checkpoints_are_refused(tmp_path: Path) -> None:
    saved = checkpoints(tmp_path)
    saved.save(1)
    with pytest.raises(ConfigError, match="step-000001 was made with other"):
        checkpoints(tmp_path, "g").restore()
    tensors = tmp_path / "step-000001" / "state.safetensors"
    tensors.write_bytes(tensors.read_bytes()[:40])
    with pytest.raises(BadInputError, match="damaged"):
        saved.restore()
    (tmp_path / "step-000001" / "state.json").write_text(json.dumps({}))
    with pytest.raises(BadInputError, match="damaged"):
        saved.restore()


def test_replaced_folder_is_whole_or_untouched(tmp_path: Path) -> None:
    target = tmp_path / "adapter"
    with replace_folder(target) as new:
        (new / "a").write_text("1")
        assert not target.exists()
    with pytest.raises(ZeroDivisionError), replace_folder(target) as new:
        (new / "b").write_text(str(1 // 0))
    assert [path.name for path in tmp_path.rglob("*")] == ["adapter", "a"]
    with replace_folder(target) as new:
        (new / "c").write_text("3")
    assert [path.name for path in tmp_path.rglob("*")] == ["adapter", "c"]
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotCreateError), replace_folder(tmp_path / "file" / "x"):
        pass


def test_forest_is_used_where_it_agrees(monkeypatch: pytest.MonkeyPatch) -> None:
    vlm, terms = tiny("llava"), resolve("fire-mpo")
    encoder, examples = encode(vlm, terms, PAIRS)
    cache = FeatureCache(vlm, encoder.encode_prompt)
    notes = Notes()

    def choose(**settings: Any) -> bool:
        return choose_forest(vlm, examples, cache, AlignConfig(**settings), notes)

    assert choose() is True
    assert choose(engine="rows") is False
    assert notes.lines == []
    monkeypatch.setattr(verify, "difference", lambda *_: 0.5)
    assert choose() is False
    assert "differ from plain rows by 5.0e-01 nats: plain rows are used" in notes.lines[0]
    with pytest.raises(UnavailableError, match="use --engine rows"):
        choose(engine="forest")
    vlm.family.forest = False
    assert choose() is False
    assert "no shared prefixes for this model family" in notes.lines[1]


def test_missing_gradients_stop_the_first_step() -> None:
    vlm, terms = tiny("llava", adapted=False), resolve("dpo")
    encoder, examples = encode(vlm, terms, PAIRS)
    engine(vlm, terms, encoder, forest=True).accumulate(examples, 1.0)
    parameters = {name: p for name, p in vlm.model.named_parameters() if p.requires_grad}
    _require_gradients(parameters)
    name = next(name for name in parameters if "lora_B" in name)
    parameters[name].grad = torch.zeros_like(parameters[name])
    with pytest.raises(UnavailableError, match="gets no gradient"):
        _require_gradients(parameters)
    parameters[name].grad = None
    with pytest.raises(UnavailableError, match="gets no gradient"):
        _require_gradients(parameters)


def test_a_tiny_model_takes_many_rows_at_once() -> None:
    # 2 layers x 30 x 32 hidden x 4 bytes = 7680 bytes a token; 128 MiB hold 17476 of them.
    assert token_budget(tiny("llava")) == 128 * 2**20 // 7680
