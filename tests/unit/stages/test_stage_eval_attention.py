"""``eval --attention`` end to end on a tiny model with an adapter: nothing else changes, all is repeatable."""

from pathlib import Path

import msgspec
import pytest
import torch

from medpo_cli.demo.cases import write_cases
from medpo_cli.errors import UsageError
from medpo_cli.io.context import Context, Silent
from medpo_cli.io.stream import read_all
from medpo_cli.models import tiny
from medpo_cli.models.load import load_model
from medpo_cli.models.lora import add_lora, save_adapter, trainable
from medpo_cli.schema.config import EvalConfig
from medpo_cli.schema.records import Case, ImageRef, Policy, Response, Sample, Score, Summary
from medpo_cli.stages import eval as stage

FIELDS = {"max_tokens": 4, "batch": 4, "bootstrap": 100}


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> EvalConfig:
    built, processor = tiny.build_llava()
    folder = tmp_path_factory.mktemp("eval")
    model = tiny.save(folder / "tiny", built, processor)
    vlm = load_model(model)
    add_lora(vlm, rank=4, seed=1)
    draw = torch.Generator().manual_seed(2)
    for parameter in trainable(vlm):
        parameter.data.add_(0.3 * torch.randn(parameter.shape, generator=draw))
    save_adapter(vlm, folder / "adapter")
    return EvalConfig(model=str(model), adapter=str(folder / "adapter"), attention=True, **FIELDS)


@pytest.fixture(scope="module")
def cases(tmp_path_factory: pytest.TempPathFactory) -> tuple[list[Case], Path]:
    folder = tmp_path_factory.mktemp("cases")
    with write_cases(folder, split="test", images=3, seed=0).open("rb") as stream:
        records = [record for record in read_all(stream, "test.jsonl", (Case,)) if isinstance(record, Case)]
    return [record for record in records if record.task != "report"], folder


def scored(records: list[Case], config: EvalConfig, context: Context) -> list[Score | Summary]:
    return list(stage.run(records, config, context))


def without(record: Score | Summary) -> bytes:
    """The record as it would be without ``--attention``."""
    kept = {key: value for key, value in record.metrics.items() if not key.startswith("attention")}
    changes = {"metrics": kept}
    if isinstance(record, Score) and record.ext:
        changes["ext"] = {key: value for key, value in record.ext.items() if key != "attention"} or None
    return msgspec.json.encode(msgspec.structs.replace(record, **changes))


def test_looking_changes_no_answer_and_no_other_number(config: EvalConfig, cases: tuple[list[Case], Path]) -> None:
    records, root = cases
    looked = scored(records, config, Context(root))
    plain = scored(records, msgspec.structs.replace(config, attention=False), Context(root))
    assert [without(record) for record in looked] == [msgspec.json.encode(record) for record in plain]
    told = [record for record in looked if "attention.wanted" in record.metrics]
    assert {record.arm for record in told} == {"base", "aligned"}
    assert len(told) < len([record for record in looked if isinstance(record, Score)])
    values = {arm: [s.metrics["attention.energy"] for s in told if s.arm == arm] for arm in ("base", "aligned")}
    assert values["base"] != values["aligned"]
    difference = looked[-1]
    assert isinstance(difference, Summary)
    assert difference.against == "base"
    assert {"attention.energy", "attention.firempo_ar[layer=0]"} <= set(difference.metrics)


def test_batches_and_runs_change_no_byte(config: EvalConfig, cases: tuple[list[Case], Path]) -> None:
    records, root = cases
    one, four, again = (
        [msgspec.json.encode(r) for r in scored(records, msgspec.structs.replace(config, batch=n), Context(root))]
        for n in (1, 4, 4)
    )
    assert one == four == again


def test_the_page_has_the_curves_and_what_is_missing_is_said(
    config: EvalConfig, cases: tuple[list[Case], Path], tmp_path: Path
) -> None:
    records, root = cases
    gone = next(record for record in records if record.regions)
    broken = [msgspec.structs.replace(region, mask=None, box=(900.0, 900.0, 910.0, 910.0)) for region in gone.regions]
    said: list[str] = []

    class Told(Silent):
        def warn(self, message: str) -> None:
            said.append(message)

    page = tmp_path / "page.html"
    more = msgspec.structs.replace(gone, id="broken", regions=broken)
    with_page = msgspec.structs.replace(config, html=str(page), html_cases=0)
    scored([*records, more], with_page, Context(root, progress=Told()))
    html = page.read_text()
    assert "Where does it look, layer by layer?" in html
    assert html.count("decoder layer") >= 7
    assert "attention:mask-empty (2)" in html  # once an arm
    assert len(said) == 1
    assert "attention:mask-empty 2" in said[0]
    scored(records, msgspec.structs.replace(with_page, attention=False), Context(root))
    assert "Where does it look" not in page.read_text()


def test_recorded_answers_are_refused(config: EvalConfig, tmp_path: Path) -> None:
    sample = Sample(
        id="a", image=ImageRef(path="a.png"), prompt="?", task="vqa-closed", reference="yes",
        policy=Policy(model="m", digest="0" * 64), responses=[Response(text="yes")],
    )  # fmt: skip
    with pytest.raises(UsageError, match="--attention"):
        scored([sample], config, Context(tmp_path))
