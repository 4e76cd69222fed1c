"""The eval stage with a real (tiny, random) model: the arms are the model without and with its adapter."""

from pathlib import Path

import msgspec
import pytest
import torch

from medpo_cli.demo.cases import write_cases
from medpo_cli.imaging.window import load_view
from medpo_cli.io.context import Context
from medpo_cli.io.stream import read_all
from medpo_cli.models import tiny
from medpo_cli.models.generate import Request, generate
from medpo_cli.models.load import load_model
from medpo_cli.models.lora import add_lora, save_adapter, trainable
from medpo_cli.models.score import answer_logprobs
from medpo_cli.schema.config import CorruptConfig, EvalConfig
from medpo_cli.schema.records import Case, Decoding, Pair, Score, Summary
from medpo_cli.stages import corrupt
from medpo_cli.stages import eval as stage


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built, processor = tiny.build_llava()
    for parameter in built.parameters():
        parameter.data.mul_(3.0)
    return tiny.save(tmp_path_factory.mktemp("eval") / "tiny", built, processor)


@pytest.fixture(scope="module")
def adapter(model: Path) -> Path:
    vlm = load_model(model)
    add_lora(vlm, rank=4, seed=1)
    draw = torch.Generator().manual_seed(2)
    for parameter in trainable(vlm):
        parameter.data.add_(0.3 * torch.randn(parameter.shape, generator=draw))
    folder = model.parent / "adapter"
    save_adapter(vlm, folder)
    return folder


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Case], Context]:
    folder = tmp_path_factory.mktemp("cases")
    context = Context(folder)
    with write_cases(folder, split="test", images=2, seed=0).open("rb") as stream:
        records = list(read_all(stream, "test.jsonl", (Case,)))
    return list(corrupt.run(records, CorruptConfig(), context)), context


def _config(model: Path, **changes: object) -> EvalConfig:
    return msgspec.structs.replace(EvalConfig(model=str(model), max_tokens=6, batch=4, bootstrap=100), **changes)


def _scores(records: list[Case], config: EvalConfig, context: Context) -> list[Score]:
    return [record for record in stage.run(records, config, context) if isinstance(record, Score)]


def _generated(model: Path, records: list[Case], context: Context, adapter: str = "") -> list[str]:
    """Each case on its own, by the model loaded anew."""
    vlm = load_model(model, adapter=adapter)
    decoding = Decoding(max_tokens=6)
    return [
        generate(vlm, [Request(case.prompt, [load_view(ref, context) for ref in case.images])], decoding)[0][0].text
        for case in records
    ]


def test_arms_are_the_model_without_and_with_its_adapter(
    model: Path, adapter: Path, cases: tuple[list[Case], Context]
) -> None:
    records, context = cases
    scores = _scores(records, _config(model, adapter=str(adapter)), context)
    base = [str(score.answer) for score in scores if score.arm == "base"]
    aligned = [str(score.answer) for score in scores if score.arm == "aligned"]
    assert base == _generated(model, records, context)
    assert aligned == _generated(model, records, context, str(adapter))
    assert base != aligned


def test_batches_change_no_byte(model: Path, adapter: Path, cases: tuple[list[Case], Context]) -> None:
    records, context = cases
    config = _config(model, adapter=str(adapter))
    one, four = (list(stage.run(records, msgspec.structs.replace(config, batch=n), context)) for n in (1, 4))
    assert [msgspec.json.encode(record) for record in one] == [msgspec.json.encode(record) for record in four]


def test_without_baseline_the_aligned_arm_stands_alone(
    model: Path, adapter: Path, cases: tuple[list[Case], Context]
) -> None:
    records, context = cases
    out = list(stage.run(records[:2], _config(model, adapter=str(adapter), baseline=False), context))
    assert {record.arm for record in out if isinstance(record, Score)} == {"aligned"}
    [summary] = [record for record in out if isinstance(record, Summary)]
    assert summary.against is None
    assert summary.versions["model"].startswith("tiny@")
    assert len(summary.versions["adapter"]) == 16


def test_margins_of_pairs_are_differences_of_log_probabilities(model: Path, cases: tuple[list[Case], Context]) -> None:
    records, context = cases
    case = next(record for record in records if record.corrupted is not None)
    chosen, rejected = "No pleural effusion.", "There is a small left pleural effusion."
    pair = Pair(**msgspec.structs.asdict(case), chosen=chosen, rejected=rejected, origin="corrected", spans=[])
    [score] = _scores([pair], _config(model), context)
    vlm, image = load_model(model), [load_view(ref, context) for ref in pair.images]
    by_hand = [float(answer_logprobs(vlm, [(pair.prompt, image, side)])[0].sum()) for side in (chosen, rejected)]
    assert score.metrics["pair.margin"] == pytest.approx(by_hand[0] - by_hand[1], abs=1e-3)
    assert score.metrics["pair.lesions"] == 1


def test_the_embedded_model_is_flawed_but_looks_at_the_lesion(demo_model: Path, tmp_path: Path) -> None:
    with write_cases(tmp_path, split="validation", images=16, seed=3).open("rb") as stream:
        records = list(read_all(stream, "validation.jsonl", (Case,)))
    context = Context(tmp_path)
    target = tmp_path / "page.html"
    config = EvalConfig(model=str(demo_model), max_tokens=128, batch=32, bootstrap=200, html=str(target))
    out = list(stage.run(corrupt.run(records, CorruptConfig(), context), config, context))
    metrics = out[-1].metrics
    assert isinstance(out[-1], Summary)
    assert metrics["report.finding_accuracy"].n == 16 * 5
    assert 0.7 < metrics["report.finding_accuracy"].value < 1
    assert metrics["closed.unparsed"].value == 0
    assert metrics["report.flip_twin"].value > 0.5 > metrics["report.flip_control"].value
    assert "There is a" not in target.read_text()
