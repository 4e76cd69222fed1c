"""What keeps a run of ``align`` safe: held-out pairs, early stop, guards, checkpoints, curves."""

import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest
from data.align_runs import Lines, config, write_pictures
from data.training_pairs import PAIRS
from safetensors.torch import load_file

from medpo_cli.errors import BadInputError, ConfigError, RecordError, UnavailableError
from medpo_cli.io.context import Context, Silent
from medpo_cli.models.tiny import build_llava, save
from medpo_cli.schema.records import ImageRef, Pair, Ranked, Ranking, Step
from medpo_cli.stages import align
from medpo_cli.training import watch
from medpo_cli.training.heldout import choose

MEASURED = {"held-out/loss", "held-out/accuracy", "held-out/margin"}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("align")
    write_pictures(folder)
    save(folder / "llava", *build_llava())
    return folder


def many(count: int) -> list[Pair]:
    """Pairs of ``count`` patients."""
    return [
        msgspec.structs.replace(PAIRS[i % 5], id=f"p{i}", group=f"g{i}", image=ImageRef(path=f"{'abcdefg'[i % 7]}.png"))
        for i in range(count)
    ]


def train(
    root: Path,
    output: Path,
    records: list[Pair],
    progress: Silent | None = None,
    *,
    resume: bool = False,
    **changes: Any,
) -> list[Step]:
    context = Context(root, progress=progress)
    return list(align.run(records, config(root, **changes), context, output=output, resume=resume))


def adapter(folder: Path) -> bytes:
    return (folder / "adapter_model.safetensors").read_bytes()


def test_held_out_pairs_are_measured_and_never_trained_on(root: Path, tmp_path: Path) -> None:
    lines = Lines()
    steps = train(root, tmp_path / "x", many(10), lines, held_out=0.3, epochs=2)
    assert "3 of 10 records are held out" in lines.notes
    assert len(steps) == 8  # 7 pairs, 2 a step, 2 epochs
    assert [step.step for step in steps if step.terms.keys() >= MEASURED] == [4, 8]
    assert steps[-1].terms["held-out/loss"] != steps[3].terms["held-out/loss"]
    # Without those three the run is the same: they leave no trace in the adapter.
    held = choose(many(10), 0.3, 0)
    train(root, tmp_path / "y", [pair for i, pair in enumerate(many(10)) if i not in held], epochs=2)
    assert adapter(tmp_path / "x") == adapter(tmp_path / "y")


def test_measuring_more_often_changes_no_byte(root: Path, tmp_path: Path) -> None:
    settings: dict[str, Any] = {"held_out": 0.3, "epochs": 2, "lora_dropout": 0.2}
    rare = train(root, tmp_path / "a", many(10), **settings)
    often = train(root, tmp_path / "b", many(10), held_out_every=1, **settings)
    assert all(step.terms.keys() >= MEASURED for step in often)
    assert [step.loss for step in rare] == [step.loss for step in often]
    assert adapter(tmp_path / "a") == adapter(tmp_path / "b")


@pytest.mark.parametrize("method", ["kto", "rrpo", "orpo", "sft"])
def test_objectives_of_other_shapes_are_measured_too(root: Path, tmp_path: Path, method: str) -> None:
    steps = train(root, tmp_path / "x", many(10), method=method, held_out=0.3, held_out_every=2, lr=1e-3)
    measured = [step for step in steps if step.terms.keys() >= MEASURED]
    assert [step.step for step in measured] == [2, 4]
    assert all(step.terms["held-out/loss"] > 0 for step in measured)
    assert "logps/chosen" in steps[0].terms
    assert ("logps/rejected" in steps[0].terms) == (method != "sft")


def test_rankings_are_measured_and_may_be_too_long(root: Path, tmp_path: Path) -> None:
    answers = [Ranked(text="There is a nodule.", reward=1.0), Ranked(text="No.", reward=0.0)]
    first = Ranking(id="r0", image=ImageRef(path="a.png"), prompt="What?", task="report", responses=answers)
    change = msgspec.structs.replace
    records = [change(first, id=f"r{i}", image=ImageRef(path=f"{'abcdef'[i]}.png")) for i in range(6)]
    long = change(first, id="long", responses=[Ranked(text="word " * 40, reward=2.0), *answers])
    rejected: dict[str | None, RecordError] = {}
    context = Context(root, reject=lambda name, error: rejected.__setitem__(name, error))
    settings = config(root, method="perpo", held_out=0.34, max_length=60)
    steps = list(align.run([*records, long], settings, context, output=tmp_path / "x"))
    assert {name: (error.reason, error.path) for name, error in rejected.items()} == {
        "long": ("overlong", "$.responses")
    }
    assert steps[-1].terms.keys() >= MEASURED
    assert "logps/chosen" not in steps[-1].terms


EARLY = {"held_out": 0.3, "held_out_every": 2, "early_stop": 2, "epochs": 18, "lr": 5e-2, "lora_dropout": 0.1}


def test_early_stop_keeps_the_best_adapter(root: Path, tmp_path: Path) -> None:
    lines = Lines()
    steps = train(root, tmp_path / "x", many(10), lines, **EARLY)
    losses = {step.step: step.terms["held-out/loss"] for step in steps if MEASURED <= step.terms.keys()}
    best = min(losses, key=lambda number: losses[number])
    assert steps[-1].step == best + 4 < 72  # two more measurements, then the end
    assert f"kept the adapter of step {best}, the best on held-out pairs" in lines.notes
    assert any("stopped early" in line for line in lines.notes)
    # The best adapter is the one that the same run has after that step.
    changes = EARLY | {"early_stop": 0}
    cut = align.run(many(10), config(root, checkpoint_every=1, **changes), Context(root), output=tmp_path / "y")
    for _ in range(best):
        next(cut)
    cut.close()  # type: ignore[attr-defined]
    state = load_file(tmp_path / "y.checkpoints" / f"step-{best:06d}" / "state.safetensors")
    kept = load_file(tmp_path / "x" / "adapter_model.safetensors")
    for name, tensor in kept.items():
        assert (state["adapter/" + name.replace(".weight", ".default.weight")] == tensor).all()


def test_early_stop_survives_any_interruption(root: Path, tmp_path: Path) -> None:
    whole = train(root, tmp_path / "whole", many(10), **EARLY)
    for stop in range(1, len(whole) + 1):
        output = tmp_path / f"cut{stop}"
        steps = align.run(many(10), config(root, **EARLY), Context(root), output=output)
        head = [next(steps) for _ in range(stop)]
        steps.close()  # type: ignore[attr-defined]
        tail = train(root, output, many(10), resume=True, **EARLY)
        assert [step.loss for step in head + tail] == [step.loss for step in whole], stop
        assert adapter(output) == adapter(tmp_path / "whole"), stop
    assert train(root, tmp_path / "whole", many(10), resume=True, **EARLY) == []
    assert adapter(tmp_path / "whole") == adapter(tmp_path / "cut1")


def test_a_signal_while_measuring_keeps_the_steps_before(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {"held_out": 0.3, "held_out_every": 3}
    whole = train(root, tmp_path / "whole", many(10), **settings)
    steps = align.run(many(10), config(root, **settings), Context(root), output=tmp_path / "x")
    head = [next(steps), next(steps)]
    with monkeypatch.context() as patch:
        patch.setattr("medpo_cli.training.engine.Engine.evaluate", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            next(steps)
    assert [path.name for path in (tmp_path / "x.checkpoints").iterdir()] == ["step-000002"]
    tail = train(root, tmp_path / "x", many(10), resume=True, **settings)
    assert [step.loss for step in head + tail] == [step.loss for step in whole]
    assert adapter(tmp_path / "x") == adapter(tmp_path / "whole")


def test_refused_settings_and_data(root: Path, tmp_path: Path) -> None:
    for name in ("held_out_every", "early_stop"):
        with pytest.raises(ValueError, match=f"{name}: needs held_out"):
            config(root, **{name: 1})
    with pytest.raises(BadInputError, match="one group"):
        train(root, tmp_path / "x", [msgspec.structs.replace(pair, group="g") for pair in PAIRS], held_out=0.2)
    assert not list(tmp_path.iterdir())


def test_overlong_pairs_are_rejected_and_never_cut(root: Path, tmp_path: Path) -> None:
    rejected: dict[str | None, RecordError] = {}
    context = Context(root, reject=lambda name, error: rejected.__setitem__(name, error))
    # dpo reads whole answers: the longest is the rejected one of "many".
    steps = list(align.run(PAIRS, config(root, method="dpo", max_length=40), context, output=tmp_path / "x"))
    assert list(rejected) == ["many"]
    error = rejected["many"]
    assert (error.reason, error.path) == ("overlong", "$.rejected")
    assert str(error) == "41 tokens (28 of prompt and images) are more than 40 (--max-length)"
    assert len(steps) == 2  # four pairs
    rejected.clear()
    with pytest.raises(BadInputError, match="no usable record"):
        list(align.run(PAIRS, config(root, max_length=10), context, output=tmp_path / "y"))
    assert {(error.reason, error.path) for error in rejected.values()} == {("overlong", "$.prompt")}


def test_the_models_own_limit_holds_by_default(root: Path, tmp_path: Path) -> None:
    model, processor = build_llava()
    model.config.text_config.max_position_embeddings = 40
    save(tmp_path / "short", model, processor)
    rejected: list[str | None] = []
    context = Context(root, reject=lambda name, _error: rejected.append(name))
    settings = config(root, method="dpo", model=str(tmp_path / "short"))
    assert len(list(align.run(PAIRS, settings, context, output=tmp_path / "x"))) == 2
    assert rejected == ["many"]


def test_held_out_pairs_that_are_all_unusable_are_said(root: Path, tmp_path: Path) -> None:
    records = [msgspec.structs.replace(pair, group=pair.id) for pair in PAIRS]
    seed = next(seed for seed in range(100) if choose(records, 0.2, seed) == {1})
    context = Context(root, reject=lambda _name, _error: None)
    settings = config(root, method="dpo", max_length=40, held_out=0.2, seed=seed)
    with pytest.raises(BadInputError, match="held_out: no usable pair is left to measure on"):
        list(align.run(records, settings, context, output=tmp_path / "x"))


def test_an_exploding_gradient_stops_with_the_last_good_state(root: Path, tmp_path: Path) -> None:
    settings = {"batch": 1, "epochs": 3, "max_grad_norm": 0.01}
    whole = train(root, tmp_path / "whole", many(10), **settings)
    assert len(whole) == 30  # the default limit lets a usual run pass
    norms = [step.grad_norm for step in whole]
    growth = [norms[i] / watch.usual_norm(whole[:i], 0.01) for i in range(30)]
    limit = 0.99 * max(growth)
    first = next(i for i, ratio in enumerate(growth) if ratio > limit)
    assert first >= watch.WARM_UP
    with pytest.raises(ConfigError, match=rf"gradient exploded .* at step {first + 1} \(records p\d\): lower lr"):
        train(root, tmp_path / "x", many(10), max_grad_growth=limit, **settings)
    newest = sorted((tmp_path / "x.checkpoints").iterdir())[-1]
    assert newest.name == f"step-{first:06d}"
    # Going on without the limit gives what the uninterrupted run gave.
    tail = train(root, tmp_path / "x", many(10), resume=True, max_grad_growth=0.0, **settings)
    assert [step.step for step in tail] == list(range(first + 1, 31))
    assert adapter(tmp_path / "x") == adapter(tmp_path / "whole")


def test_checkpoints_by_the_clock(root: Path, tmp_path: Path) -> None:
    for minutes, expected in ((0.0, []), (1e-9, ["step-000001", "step-000002"])):
        steps = align.run(PAIRS, config(root, checkpoint_minutes=minutes), Context(root), output=tmp_path / "x")
        _held = [next(steps), next(steps)]
        found = (tmp_path / "x.checkpoints").glob("*")
        assert sorted(path.name for path in found) == expected
        steps.close()  # type: ignore[attr-defined]
    assert adapter_of_resumed(root, tmp_path) == adapter_of_whole(root, tmp_path)


def adapter_of_resumed(root: Path, tmp_path: Path) -> bytes:
    train(root, tmp_path / "x", PAIRS, resume=True, checkpoint_minutes=5.0, checkpoint_every=1)
    return adapter(tmp_path / "x")


def adapter_of_whole(root: Path, tmp_path: Path) -> bytes:
    train(root, tmp_path / "whole", PAIRS)
    return adapter(tmp_path / "whole")


def test_curves_cover_all_sittings(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    drawn: list[list[Step]] = []
    monkeypatch.setattr("medpo_cli.training.curves.draw", lambda history: drawn.append(list(history)) or b"png")
    steps = align.run(PAIRS, config(root, curves=True), Context(root), output=tmp_path / "x")
    first = next(steps)
    steps.close()  # type: ignore[attr-defined]
    assert drawn == []
    lines = Lines()
    tail = train(root, tmp_path / "x", PAIRS, lines, resume=True, curves=True)
    assert drawn == [[first, *tail]]
    assert "curves in x.curves.png" in lines.notes
    assert (tmp_path / "x.curves.png").read_bytes() == b"png"
    train(root, tmp_path / "y", PAIRS)
    assert not (tmp_path / "y.curves.png").exists()


def test_the_alarm_is_said_once(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watch, "chosen_falls", lambda history: len(history) >= 2)
    lines = Lines()
    train(root, tmp_path / "x", PAIRS, lines, epochs=2)
    assert lines.warnings == [watch.CHOSEN_FALLS]


def test_tensorboard_is_asked_for_before_anything_is_read(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(UnavailableError, match="needs the package tensorboard"):
        train(root, tmp_path / "x", PAIRS, tensorboard=str(tmp_path / "logs"))
    assert not list(tmp_path.iterdir())


def test_forest_and_rows_are_compared_without_dropout(root: Path, tmp_path: Path) -> None:
    train(root, tmp_path / "one", PAIRS, lora_dropout=0.5)
    # An adapter that is not zero: dropout would make the two differ, and forest be refused.
    assert train(root, tmp_path / "two", PAIRS, adapter=str(tmp_path / "one"), engine="forest")
