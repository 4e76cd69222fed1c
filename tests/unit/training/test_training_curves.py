"""The picture at the end and TensorBoard's event files."""

import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from data.align_runs import Lines
from data.step_records import step
from PIL import Image

from medpo_cli.errors import UnavailableError
from medpo_cli.training import board
from medpo_cli.training.board import event_files, scalars
from medpo_cli.training.curves import draw, write_curves

TAGS = {
    "loss": 0.7,
    "rewards/chosen": 0.2,
    "rewards/rejected": -0.3,
    "rewards/accuracies": 0.75,
    "rewards/margins": 0.5,
    "logps/chosen": -3.0,
    "logps/rejected": -9.0,
    "grad_norm": 1.0,
    "learning_rate": 1e-3,
    "epoch": 0.3,
    "rank": 0.69,
    "kl": 0.01,
}


class Writer:
    """Stands for SummaryWriter."""

    made: list["Writer"] = []  # noqa: RUF012

    def __init__(self, folder: str, purge_step: int | None = None) -> None:
        self.folder, self.purge_step, self.closed = folder, purge_step, False
        self.scalars: list[tuple[str, float, int]] = []
        Writer.made.append(self)

    def add_scalar(self, tag: str, value: float, number: int) -> None:
        self.scalars.append((tag, value, number))

    def close(self) -> None:
        self.closed = True


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> list[Writer]:
    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(board.importlib.util, "find_spec", lambda _name: object())
    monkeypatch.setattr(Writer, "made", [])
    return Writer.made


def test_tags_are_the_ones_that_people_know() -> None:
    assert scalars(step(3)) == TAGS
    assert "rewards/chosen" not in scalars(step(3, rewards={}))


def test_events_are_written_and_closed_also_after_an_error(fake: list[Writer]) -> None:
    with pytest.raises(AttributeError), event_files("logs", 0) as write:
        getattr(write(step(3)), "nothing")  # noqa: B009
    [writer] = fake
    assert (writer.folder, writer.purge_step, writer.closed) == ("logs", None, True)
    assert writer.scalars == [(tag, value, 3) for tag, value in scalars(step(3)).items()]


def test_a_resumed_run_purges_events_after_its_checkpoint(fake: list[Writer]) -> None:
    with event_files("logs", 6):
        pass
    assert fake[0].purge_step == 7


def test_without_a_folder_nothing_is_needed(fake: list[Writer]) -> None:
    with event_files("", 0) as write:
        write(step(1))
    assert fake == []


def test_the_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(board.importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(UnavailableError, match=r"needs the package tensorboard: pip install 'medpo\[tensorboard\]'"):
        board.require_tensorboard()


def colours(png: Path) -> set[tuple[int, ...]]:
    with Image.open(png) as image:
        assert image.format == "PNG"
        assert image.size == (1430, 770)
        return {tuple(map(int, colour)) for colour in np.unique(np.asarray(image)[..., :3].reshape(-1, 3), axis=0)}


def test_curves_show_held_out_points_where_there_are_some(tmp_path: Path) -> None:
    purple = (0xCC, 0x79, 0xA7)
    plain = [step(n, rewards={"chosen": 0.1 * n, "rejected": -0.1 * n}) for n in range(1, 40)]
    lines = Lines()
    write_curves(tmp_path / "plain.png", plain, lines)
    assert lines.notes == ["curves in plain.png"]
    assert purple not in colours(tmp_path / "plain.png")
    measured = {"held-out/loss": 0.6, "held-out/accuracy": 0.9, "held-out/margin": 1.0}
    write_curves(tmp_path / "held.png", [*plain, step(40, terms=plain[0].terms | measured)], lines)
    assert purple in colours(tmp_path / "held.png")
    assert draw(plain) == draw(plain)


def test_curves_of_one_step_and_of_a_method_without_rewards(tmp_path: Path) -> None:
    write_curves(tmp_path / "a.png", [step(1, rewards={}, terms={"nll": 0.0}, grad_norm=0.0)], Lines())
    assert colours(tmp_path / "a.png")
    write_curves(tmp_path / "b.png", [], Lines())
    assert not (tmp_path / "b.png").exists()


def test_a_picture_that_cannot_be_written_costs_only_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    lines = Lines()
    write_curves(tmp_path / "file" / "x.png", [step(1)], lines)
    assert lines.notes == []
    assert lines.warnings == ["x.png was not drawn (CannotCreateError)"]
