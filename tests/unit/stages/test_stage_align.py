"""``align`` from records to an adapter folder, on a tiny LLaVA."""

import math
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from data.align_runs import config, write_pictures
from data.method_records import rankings
from data.training_pairs import PAIRS, encode, picture
from peft import PeftModel
from safetensors.torch import load_file

from medpo_cli.errors import BadInputError, ConfigError, RecordError, TryLaterError, UnavailableError
from medpo_cli.io.context import Context, Silent
from medpo_cli.models.load import load_model, quiet
from medpo_cli.models.lora import add_lora
from medpo_cli.models.score import answer_logprobs
from medpo_cli.models.tiny import build_llava, build_qwen2_5_vl, save
from medpo_cli.schema.objectives import AnyTerm
from medpo_cli.schema.records import Case, ImageRef, Pair, Ranked, Ranking, Step
from medpo_cli.stages import align
from medpo_cli.training.features import FeatureCache
from medpo_cli.training.objectives.methods import resolve
from medpo_cli.training.objectives.table import METHODS
from medpo_cli.training.verify import difference

LN2 = math.log(2)


class Notes(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []

    def note(self, message: str) -> None:
        self.lines.append(message)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("align")
    write_pictures(folder)
    save(folder / "llava", *build_llava())
    save(folder / "qwen", *build_qwen2_5_vl())
    return folder


def train(root: Path, output: Path, records: list[Pair] | None = None, **changes: Any) -> list[Step]:
    settings = config(root, **changes)
    return list(align.run(records or PAIRS, settings, Context(root), output=output))


def adapter_bytes(folder: Path) -> bytes:
    return (folder / "adapter_model.safetensors").read_bytes()


def test_first_step_is_ln2_and_training_lowers_the_loss(root: Path, tmp_path: Path) -> None:
    full = [pair for pair in PAIRS if pair.corrupted]
    steps = train(root, tmp_path / "adapter", full, batch=4, epochs=20, gamma=0.1, beta=0.1, lr=2e-3)
    first = steps[0]
    assert first.terms["rank"] == pytest.approx(LN2, abs=1e-5)
    assert first.terms["visual"] == pytest.approx(LN2, abs=1e-5)
    assert first.terms["kl"] == pytest.approx(0, abs=1e-5)
    assert first.loss == pytest.approx(1.1 * LN2, abs=1e-5)  # 0.762462
    assert first.margin == 0.0
    assert first.accuracy == 0.0
    assert [step.step for step in steps] == list(range(1, 21))
    assert steps[-1].epoch == 20
    assert steps[-1].loss < 0.74
    assert steps[-1].accuracy >= 0.75
    assert steps[-1].margin > 0
    assert steps[0].lr == pytest.approx(2e-3)
    assert steps[-1].lr < 1e-4
    assert all(step.grad_norm > 0 and step.tokens > 0 and step.peak_bytes > 0 for step in steps)


def test_adapter_loads_with_plain_peft_and_prefers_the_chosen(root: Path, tmp_path: Path) -> None:
    train(root, tmp_path / "adapter", PAIRS[:1], epochs=8, gamma=0.0)
    plain = load_model(root / "llava")
    before = load_file(tmp_path / "adapter" / "adapter_model.safetensors")
    with quiet():
        model = PeftModel.from_pretrained(plain.model, str(tmp_path / "adapter"))
    assert model.peft_config["default"].r == 4
    assert any(tensor.abs().max() > 0 for name, tensor in before.items() if "lora_B" in name)
    aligned = load_model(root / "llava", adapter=tmp_path / "adapter")
    pair = PAIRS[0]
    images = [picture(pair.images[0])]
    items = [(pair.prompt, images, pair.chosen), (pair.prompt, images, pair.rejected)]

    def gap(model: Any) -> float:
        chosen, rejected = answer_logprobs(model, items)
        return float(chosen.sum() - rejected.sum())

    assert gap(aligned) > gap(load_model(root / "llava"))
    assert sorted(path.name for path in (tmp_path / "adapter").iterdir()) == [
        "adapter_config.json",
        "adapter_model.safetensors",
    ]


def test_same_seed_same_bytes_other_seed_other_bytes(root: Path, tmp_path: Path) -> None:
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        train(root, tmp_path / name, seed=seed)
    assert adapter_bytes(tmp_path / "a") == adapter_bytes(tmp_path / "b")
    assert adapter_bytes(tmp_path / "a") != adapter_bytes(tmp_path / "c")


@pytest.mark.parametrize("stop", [1, 2, 4])
def test_interrupted_and_resumed_equals_uninterrupted(root: Path, tmp_path: Path, stop: int) -> None:
    settings = config(root, epochs=2, checkpoint_every=2, lora_dropout=0.1)  # 3 steps an epoch, 6 in all
    whole = list(align.run(PAIRS, settings, Context(root), output=tmp_path / "whole"))
    steps = align.run(PAIRS, settings, Context(root), output=tmp_path / "cut")
    head = [next(steps) for _ in range(stop)]
    torch.manual_seed(99)  # as another process would have
    steps.close()  # type: ignore[attr-defined]
    assert not (tmp_path / "cut").exists()
    tail = list(align.run(PAIRS, settings, Context(root), output=tmp_path / "cut", resume=True))
    assert [step.loss for step in head + tail] == [step.loss for step in whole]
    assert adapter_bytes(tmp_path / "cut") == adapter_bytes(tmp_path / "whole")


@pytest.mark.parametrize(
    "changes",
    [
        {"dtype": "bfloat16"},
        {"optimizer": "adamw8bit", "rank": 128},
        {"dtype": "bfloat16", "optimizer": "adamw8bit", "rank": 128, "qlora": True},
    ],
    ids=["bfloat16", "adamw8bit", "qlora"],
)
def test_resumed_equals_uninterrupted_with_masters_and_8_bit_moments(
    root: Path, tmp_path: Path, changes: dict[str, Any]
) -> None:
    settings = config(root, lr=1e-3, checkpoint_every=1, **changes)
    list(align.run(PAIRS, settings, Context(root), output=tmp_path / "whole"))
    steps = align.run(PAIRS, settings, Context(root), output=tmp_path / "cut")
    next(steps)
    assert steps  # still open: only the checkpoint of step 1 is there, as kill -9 would leave it
    list(align.run(PAIRS, settings, Context(root), output=tmp_path / "cut", resume=True))
    assert adapter_bytes(tmp_path / "cut") == adapter_bytes(tmp_path / "whole")
    saved = load_file(tmp_path / "cut" / "adapter_model.safetensors")
    assert {tensor.dtype for tensor in saved.values()} == {torch.float32}


def test_killed_between_checkpoints_goes_on_from_the_last(root: Path, tmp_path: Path) -> None:
    settings = config(root, epochs=2, checkpoint_every=2)
    list(align.run(PAIRS, settings, Context(root), output=tmp_path / "whole"))
    steps = align.run(PAIRS, settings, Context(root), output=tmp_path / "cut")
    for _ in range(3):
        next(steps)
    checkpoints = tmp_path / "cut.checkpoints"
    assert steps  # still open: closing it would save
    assert [path.name for path in checkpoints.iterdir()] == ["step-000002"]  # as kill -9 would leave it
    (checkpoints / ".step-000004.new").mkdir()  # torn
    tail = list(align.run(PAIRS, settings, Context(root), output=tmp_path / "cut", resume=True))
    assert [step.step for step in tail] == [3, 4, 5, 6]
    assert adapter_bytes(tmp_path / "cut") == adapter_bytes(tmp_path / "whole")
    assert sorted(path.name for path in checkpoints.iterdir()) == ["step-000004", "step-000006"]


def test_resume_refuses_other_settings_and_a_fresh_run_forgets(root: Path, tmp_path: Path) -> None:
    train(root, tmp_path / "x")
    with pytest.raises(ConfigError, match="other data, model or settings"):
        list(align.run(PAIRS, config(root, lr=0.5), Context(root), output=tmp_path / "x", resume=True))
    again = list(align.run(PAIRS, config(root), Context(root), output=tmp_path / "x", resume=True))
    assert again == []  # nothing left to do
    assert len(train(root, tmp_path / "x", lr=0.5)) == 3


def test_time_limit_saves_and_asks_to_come_back(root: Path, tmp_path: Path) -> None:
    context = Context(root)
    steps = align.run(PAIRS, config(root), context, output=tmp_path / "x")
    next(steps)
    context.deadline = time.monotonic() - 1
    with pytest.raises(TryLaterError, match="--resume"):
        next(steps)
    assert [path.name for path in (tmp_path / "x.checkpoints").iterdir()] == ["step-000001"]
    rest = list(align.run(PAIRS, config(root), Context(root), output=tmp_path / "x", resume=True))
    train(root, tmp_path / "whole")
    assert [step.step for step in rest] == [2, 3]
    assert adapter_bytes(tmp_path / "x") == adapter_bytes(tmp_path / "whole")


def test_a_signal_in_the_middle_of_a_step_saves_the_steps_before(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = align.run(PAIRS, config(root), Context(root), output=tmp_path / "x")
    next(steps)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    with monkeypatch.context() as patch:
        patch.setattr("medpo_cli.training.engine.Engine.accumulate", lambda *_: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            next(steps)
    signal.signal(signal.SIGINT, before)
    assert [path.name for path in (tmp_path / "x.checkpoints").iterdir()] == ["step-000001"]
    rest = list(align.run(PAIRS, config(root), Context(root), output=tmp_path / "x", resume=True))
    assert [step.step for step in rest] == [2, 3]


@pytest.mark.parametrize("method", ["dpo", "rrpo", "mask-dpo", "sft"])
def test_every_method_trains(root: Path, tmp_path: Path, method: str) -> None:
    steps = train(root, tmp_path / "x", method=method, batch=5, epochs=6, lr=1e-3)
    assert steps[-1].loss < steps[0].loss
    if method == "sft":
        assert steps[0].rewards == {}
        assert set(steps[0].terms) == {"nll", "logps/chosen"}


def test_qlora_trains_on_the_cpu(root: Path, tmp_path: Path) -> None:
    steps = train(root, tmp_path / "x", qlora=True, epochs=4, gamma=0.0)
    assert steps[0].terms["rank"] == pytest.approx(LN2, abs=1e-5)
    assert steps[-1].loss < steps[0].loss
    aligned = load_model(root / "llava", adapter=tmp_path / "x", quantize="nf4")
    assert aligned.adapter_digest


def test_shared_prefixes_are_exact_in_four_bit(root: Path) -> None:
    vlm = load_model(root / "llava", quantize="nf4")
    add_lora(vlm, rank=4)
    terms = resolve("fire-mpo", nll=1.0)
    encoder, examples = encode(vlm, terms, PAIRS)
    assert difference(vlm, examples, FeatureCache(vlm, encoder.encode_prompt)) <= 1e-5


def test_forest_and_rows_train_the_same_adapter(root: Path, tmp_path: Path) -> None:
    model = str(root / "qwen")
    forest = train(root, tmp_path / "forest", model=model, engine="forest")
    rows = train(root, tmp_path / "rows", model=model, engine="rows")
    assert [step.loss for step in forest] == pytest.approx([step.loss for step in rows], abs=1e-4)
    assert sum(step.tokens for step in forest) < sum(step.tokens for step in rows)


def test_training_goes_on_from_an_adapter(root: Path, tmp_path: Path) -> None:
    first = train(root, tmp_path / "one", PAIRS[:1], epochs=4, gamma=0.0, lr=1e-3)
    second = train(root, tmp_path / "two", PAIRS[:1], epochs=4, gamma=0.0, lr=1e-3, adapter=str(tmp_path / "one"))
    assert first[-1].margin > 0
    assert second[0].margin == 0.0  # the reference is the adapter that it began with
    assert second[0].terms["rank"] == pytest.approx(LN2, abs=1e-6)
    assert second[-1].margin > 0
    names = set(load_file(tmp_path / "two" / "adapter_model.safetensors"))
    assert names == set(load_file(tmp_path / "one" / "adapter_model.safetensors"))
    assert not (tmp_path / "two" / "reference").exists()


def test_a_bfloat16_model_goes_on_from_the_masters_of_an_adapter(root: Path, tmp_path: Path) -> None:
    """The second run begins with the bits that the first one saved, and its reference is rounded alike."""
    changes: dict[str, Any] = {"dtype": "bfloat16", "gamma": 0.0, "epochs": 2}
    train(root, tmp_path / "one", PAIRS[:1], lr=1e-3, **changes)
    second = train(root, tmp_path / "two", PAIRS[:1], lr=1e-12, adapter=str(tmp_path / "one"), **changes)
    assert second[0].margin == 0.0
    assert second[0].terms["rank"] == pytest.approx(LN2, abs=1e-6)
    one, two = (load_file(tmp_path / name / "adapter_model.safetensors") for name in ("one", "two"))
    assert all(torch.allclose(two[name], tensor, rtol=0, atol=1e-10) for name, tensor in one.items())
    assert any((tensor != tensor.bfloat16().float()).any() for tensor in two.values())


@pytest.mark.parametrize("qlora", [False, True])
def test_merged_model_prefers_as_base_and_adapter(root: Path, tmp_path: Path, qlora: bool) -> None:
    """After 4-bit training too: the adapter goes into the weights in full precision."""
    notes = Notes()
    settings = config(root, qlora=qlora, merge=str(tmp_path / "merged"), gamma=0.0, lr=1e-3)
    list(align.run(PAIRS[:1], settings, Context(root, progress=notes), output=tmp_path / "adapter"))
    assert any("merged model in" in line and "rounding lost 0.0%" in line for line in notes.lines)
    pair = PAIRS[0]
    items = [(pair.prompt, [picture(pair.images[0])], text) for text in (pair.chosen, pair.rejected)]
    adapted = load_model(root / "llava", adapter=tmp_path / "adapter")
    for merged, tuned in zip(answer_logprobs(load_model(tmp_path / "merged"), items),
                             answer_logprobs(adapted, items), strict=True):  # fmt: skip
        torch.testing.assert_close(torch.as_tensor(merged), torch.as_tensor(tuned), rtol=0, atol=1e-5)


def test_recomputing_layers_gives_the_same_adapter(root: Path, tmp_path: Path) -> None:
    """Bit by bit, with adapter dropout too: the second pass draws what the first one drew."""
    for name in ("on", "off"):
        train(root, tmp_path / name, checkpointing=name, lora_dropout=0.1)
    assert adapter_bytes(tmp_path / "on") == adapter_bytes(tmp_path / "off")


def test_a_limit_on_memory_is_kept_and_said(root: Path, tmp_path: Path) -> None:
    notes = Notes()
    settings = config(root, max_memory=0.001)
    steps = list(align.run(PAIRS, settings, Context(root, progress=notes), output=tmp_path / "x"))
    assert len(steps) == 3
    assert any("gradient checkpointing: 1.0 MiB at peak" in line for line in notes.lines)
    with pytest.raises(ConfigError, match=r"max_memory: 0\.0002 GiB will not do"):
        train(root, tmp_path / "y", max_memory=0.0002)


def test_an_estimate_trains_nothing(root: Path, tmp_path: Path) -> None:
    notes = Notes()
    settings = config(root, estimate=True, qlora=True, optimizer="adamw8bit")
    assert list(align.run(PAIRS, settings, Context(root, progress=notes), output=tmp_path / "x")) == []
    assert any(line.startswith("peak") and line.endswith("MiB") for line in notes.lines)
    assert list(tmp_path.iterdir()) == []


def test_an_estimate_before_the_download(root: Path, tmp_path: Path) -> None:
    """Without weights, for a GPU that this machine does not have."""
    shutil.copytree(root / "llava", tmp_path / "bare", ignore=shutil.ignore_patterns("*.safetensors"))
    notes = Notes()
    settings = config(root, model=str(tmp_path / "bare"), estimate=True, qlora=True, device="cuda")
    assert list(align.run(PAIRS, settings, Context(root, progress=notes), output=tmp_path / "x")) == []
    assert any("counted from config.json; longest row" in line for line in notes.lines)
    with pytest.raises(UnavailableError, match="holds no weights"):
        train(root, tmp_path / "x", model=str(tmp_path / "bare"))


def test_no_corrupted_image_at_all_is_said(root: Path, tmp_path: Path) -> None:
    notes = Notes()
    pairs = [msgspec.structs.replace(pair, corrupted=None) for pair in PAIRS]
    steps = list(align.run(pairs, config(root), Context(root, progress=notes), output=tmp_path / "x"))
    assert any("visual term is off" in line for line in notes.lines)
    assert any("17 image tokens" in line for line in notes.lines)
    assert set(steps[0].terms) == {"rank", "kl", "logps/chosen", "logps/rejected"}


def bad_records() -> Iterator[tuple[Case, str, str]]:
    first = PAIRS[0]
    change = msgspec.structs.replace
    span = first.spans[0]
    yield Case(id="case", image=ImageRef(path="a.png"), prompt="?", task="report"), "field-missing", "$.chosen"
    ranked = [Ranked(text="a", reward=1.0), Ranked(text="b", reward=0.0)]
    ranking = Ranking(id="list", image=ImageRef(path="a.png"), prompt="?", task="report", responses=ranked)
    yield ranking, "field-missing", "$.chosen"
    yield change(first, id="nospan", spans=[]), "field-missing", "$.spans"
    yield change(first, id="same", rejected=first.chosen), "no-signal", "$.rejected"
    yield change(first, id="gone", image=ImageRef(path="nowhere.png")), "file-not-found", "$.image.path"
    yield change(first, id="out", image=ImageRef(path="../a.png")), "path-escape", "$.image.path"
    lost = change(first.corrupted, image=ImageRef(path="nowhere.nii"))
    yield change(first, id="lost", corrupted=lost), "file-not-found", "$.corrupted.image.path"
    hole = change(span, chosen=(0, 0), rejected=(0, 0))
    yield change(first, id="hole", spans=[hole]), "no-tokens", "$.spans"
    s, e = span.chosen
    sliver = change(span, chosen=(s, s + 1), rejected=(span.rejected[0], span.rejected[0] + 1))
    assert e - s == 4
    yield change(first, id="sliver", spans=[sliver]), "straddle", "$.spans"
    yield change(first, id="control", prompt="<image> what?"), "prompt-control-token", "$.prompt"


def test_bad_records_are_rejected_and_the_rest_trains(root: Path, tmp_path: Path) -> None:
    rejected: dict[str | None, RecordError] = {}
    bad = list(bad_records())
    context = Context(root, reject=lambda name, error: rejected.__setitem__(name, error))
    records = [record for record, _, _ in bad] + PAIRS
    steps = list(align.run(records, config(root), context, output=tmp_path / "x"))
    assert {name: (e.reason, (e.path or "").split("[")[0]) for name, e in rejected.items()} == {
        record.id: (reason, path) for record, reason, path in bad
    }
    assert len(steps) == 3  # five good pairs, two a step
    for error in rejected.values():
        assert "effusion" not in str(error)


def test_dpo_needs_no_spans_and_no_corrupted_image(root: Path, tmp_path: Path) -> None:
    change = msgspec.structs.replace
    lost = change(PAIRS[0].corrupted, image=ImageRef(path="nowhere.nii"))
    pairs = [change(pair, spans=[], corrupted=lost) for pair in PAIRS]
    assert train(root, tmp_path / "x", pairs, method="dpo")


def test_a_composed_objective_is_not_called_by_the_name_of_a_method(root: Path, tmp_path: Path) -> None:
    rejected: list[str] = []
    context = Context(root, reject=lambda _id, error: rejected.append(f"{error.path}: {error.message}"))
    own = [msgspec.structs.replace(resolve("sft")[0], sequence="r")]
    with pytest.raises(BadInputError):
        list(align.run(PAIRS[:1], config(root, terms=own), context, output=tmp_path / "a"))
    assert rejected == ["$.reference: method composed needs this field"]


def test_refusals(root: Path, tmp_path: Path) -> None:
    empty: list[Pair] = []
    with pytest.raises(BadInputError, match="no usable record"):
        list(align.run(empty, config(root, model="/nowhere"), Context(root), output=tmp_path / "x"))
    with pytest.raises(ConfigError, match="gamma: method dpo"):
        train(root, tmp_path / "x", method="dpo", gamma=0.5)
    with pytest.raises(UnavailableError):
        train(root, tmp_path / "x", model=str(root / "nowhere"))
    assert not list(tmp_path.iterdir())


def test_divergence_stops_with_the_last_good_state(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"diverged at step 2 \(records .*lower lr"):
        train(root, tmp_path / "x", lr=1e30, epochs=3, method="sft")
    # Step 1 moved the adapter to 1e30, which is finite; step 2 saw what it does.
    tensors = load_file(tmp_path / "x.checkpoints" / "step-000001" / "state.safetensors")
    assert all(tensor.isfinite().all() for tensor in tensors.values())
    assert not (tmp_path / "x").exists()


def test_a_reference_cache_serves_the_next_run(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = {"reference_cache": str(tmp_path / "cache"), "epochs": 2}
    first = train(root, tmp_path / "a", **cache)
    assert first[0].margin == 0.0
    assert list((tmp_path / "cache").glob("rows-*.safetensors"))
    monkeypatch.setattr("medpo_cli.training.reference.Reference._compute", lambda *_: pytest.fail("computed again"))
    second = train(root, tmp_path / "b", **cache)
    assert [step.loss for step in first] == [step.loss for step in second]
    assert adapter_bytes(tmp_path / "a") == adapter_bytes(tmp_path / "b")
    other = train(root, tmp_path / "c", beta=0.3, **cache)  # the reference does not know beta
    assert other[-1].loss != first[-1].loss


def test_records_about_one_image_can_be_trained_together(root: Path, tmp_path: Path) -> None:
    pairs = [msgspec.structs.replace(pair, id=f"{pair.id}{i}") for i in range(3) for pair in PAIRS[:3]]
    grouped, apart = (
        train(root, tmp_path / str(flag), pairs, batch=3, group_by_image=flag, method="dpo") for flag in (True, False)
    )
    assert sum(step.tokens for step in grouped) < sum(step.tokens for step in apart)
    assert len(grouped) == len(apart)


def test_an_objective_of_two_references(root: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="reference_adapter: method mrpo needs"):
        train(root, tmp_path / "x", method="mrpo")
    with pytest.raises(ConfigError, match="reference_adapter: method dpo has one"):
        train(root, tmp_path / "x", method="dpo", reference_adapter="y")
    with pytest.raises(UnavailableError, match="adapter folder"):
        train(root, tmp_path / "x", method="mrpo", reference_adapter=str(root / "nowhere"))
    train(root, tmp_path / "second", method="sft", epochs=3)
    steps = train(root, tmp_path / "x", method="mrpo", reference_adapter=str(tmp_path / "second"), epochs=3, lr=1e-3)
    assert steps[-1].loss < steps[0].loss
    names = set(load_file(tmp_path / "x" / "adapter_model.safetensors"))
    assert names == set(load_file(tmp_path / "second" / "adapter_model.safetensors"))
    # What both references said in the first epoch is there again after an interruption in the second.
    settings = config(root, method="mrpo", reference_adapter=str(tmp_path / "second"), epochs=3, lr=1e-3)
    cut = align.run(PAIRS, settings, Context(root), output=tmp_path / "cut")
    for _ in range(4):
        next(cut)
    cut.close()  # type: ignore[attr-defined]
    list(align.run(PAIRS, settings, Context(root), output=tmp_path / "cut", resume=True))
    assert adapter_bytes(tmp_path / "cut") == adapter_bytes(tmp_path / "x")


def test_an_auxiliary_head_is_trained_resumed_and_left_out(root: Path, tmp_path: Path) -> None:
    ext = {"align": {"degree": {"chosen": 0, "rejected": 2}}}
    pairs = [msgspec.structs.replace(pair, ext=ext) for pair in PAIRS]
    settings = config(root, method="spo", epochs=2, checkpoint_every=1)
    whole = list(align.run(pairs, settings, Context(root), output=tmp_path / "whole"))
    assert whole[-1].terms["degree"] < whole[0].terms["degree"]
    steps = align.run(pairs, settings, Context(root), output=tmp_path / "cut")
    next(steps)
    steps.close()  # type: ignore[attr-defined]
    list(align.run(pairs, settings, Context(root), output=tmp_path / "cut", resume=True))
    assert adapter_bytes(tmp_path / "cut") == adapter_bytes(tmp_path / "whole")
    assert not any("medpo" in name for name in load_file(tmp_path / "cut" / "adapter_model.safetensors"))


def test_rankings_train(root: Path, tmp_path: Path) -> None:
    for method in ("perpo", "s-dpo"):
        steps = train(root, tmp_path / method, rankings(), method=method, epochs=4, lr=1e-3)  # type: ignore[arg-type]
        assert steps[0].terms.keys() == {METHODS[method].terms[0].key}
        assert steps[-1].loss < steps[0].loss
        assert steps[-1].margin > 0


def test_an_own_objective(root: Path, tmp_path: Path) -> None:
    composed = [{"kind": "rank", "scope": "span"}, {"kind": "kl", "weight": 0.5, "scope": "response"}]
    terms = msgspec.convert(composed, list[AnyTerm])
    steps = train(root, tmp_path / "x", terms=terms)
    assert {"rank", "kl"} <= steps[0].terms.keys()
    assert not {"visual", "nll"} & steps[0].terms.keys()
