"""Every recipe trains on the demo data from its own settings, and starts at the loss that is due.

Before the first step the policy is its reference, so most losses are known; those of likelihoods are
computed here from the model's own log-probabilities, which no code of ``training`` touches.
"""

import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import torch
from data.demo_records import completed, has_twin
from data.toy import LN2, START
from torch import Tensor
from torch.nn.functional import softplus

from medpo_cli.cli.settings import STAGES, resolve
from medpo_cli.demo import MODEL
from medpo_cli.demo.cases import write_cases
from medpo_cli.imaging.window import load_view
from medpo_cli.io.context import Context
from medpo_cli.io.stream import read_all
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.load import load_model
from medpo_cli.models.score import answer_logprobs
from medpo_cli.schema.config import AlignConfig
from medpo_cli.schema.records import Case, ImageRef, Pair, Ranking, Step
from medpo_cli.stages import align, corrupt, edit, sample
from medpo_cli.training.objectives.terms import composite

pytestmark = pytest.mark.slow

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))
RECORDS, STEPS = 16, 3
SMALL = {"model": str(MODEL), "device": "cpu", "rank": 8, "lora_alpha": 16.0, "lr": 1e-3, "epochs": float(STEPS)}
"""A recipe for a large model, cut to the embedded one; all records in one step, so that its loss is known."""


class Demo:
    """Cases on disk, the embedded model, and what the first three stages made of them."""

    def __init__(self, root: Path) -> None:
        self.root, self.context = root, Context(root, reject=lambda _id, _error: None)
        self.cases = write_cases(root, split="validation", images=16, seed=3)
        self.vlm = load_model(MODEL, device="cpu")
        self._made: dict[bytes, list[Any]] = {}

    def settings(self, stage: str, recipe: Path, **flags: Any) -> Any:
        return resolve(stage, STAGES[stage], {"model": str(MODEL), **flags}, str(recipe)).stage

    def records(self, recipe: Path) -> list[Case]:
        """Samples, pairs or rankings, and corrupted images as the recipe asks; equal settings are run once."""
        small = {"batch": 64, "max_tokens": 64}
        asked, edited, broken = (
            self.settings(stage, recipe, **(small if stage == "sample" else {}))
            for stage in ("sample", "edit", "corrupt")
        )
        samples = self._once(asked, lambda: sample.run(self._cases(), asked, self.context))
        made = self._once((asked, edited), lambda: edit.run(samples, edited, self.context))
        # Rankings have no corrupted images: corrupt reads cases, samples and pairs.
        if edited.emit == "ranking":
            return made
        return self._once((asked, edited, broken), lambda: corrupt.run(made, broken, self.context))

    def _cases(self) -> list[Any]:
        with self.cases.open("rb") as stream:
            return list(read_all(stream, "cases", (Case,)))

    def _once(self, settings: Any, make: Any) -> list[Any]:
        key = msgspec.json.encode(settings)
        if key not in self._made:
            self._made[key] = list(make())
        return self._made[key]

    def logprobs(
        self, records: Iterable[Case], answers: Iterable[str], vlm: VisionLanguageModel | None = None, bad: bool = False
    ) -> list[Tensor]:
        """Log-probabilities of one answer a record, under its image or the corrupted one."""
        items = []
        for record, answer in zip(records, answers, strict=True):
            ref: ImageRef = record.corrupted.image if bad and record.corrupted else record.images[0]
            items.append((record.prompt, [load_view(ref, self.context)], answer))
        return answer_logprobs(vlm or self.vlm, items)


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    return Demo(tmp_path_factory.mktemp("demo"))


@pytest.fixture(scope="module")
def second(demo: Demo) -> Path:
    """An adapter that MRPO can take for its second reference."""
    folder = demo.root / "second"
    recipe = next(path for path in RECIPES if path.stem == "sft")
    config = demo.settings("align", recipe, **SMALL, batch=RECORDS)
    list(align.run(usable(demo, recipe, config), config, demo.context, output=folder))
    return folder


def usable(demo: Demo, recipe: Path, config: AlignConfig) -> list[Any]:
    """The first records that have everything the method reads."""
    records = demo.records(recipe)
    if isinstance(records[0], Ranking):
        return records[:RECORDS]
    pairs = [pair for pair in records if isinstance(pair, Pair) and pair.corrupted]
    pairs = [pair for pair in pairs if config.method != "sympo" or has_twin(pair)]
    return [completed(pair, config.method) for pair in pairs[:RECORDS]]


def first_loss(demo: Demo, recipe: Path, records: list[Any], config: AlignConfig) -> float:
    """What the loss must be while the policy is the reference."""
    method = "composed" if config.terms else config.method
    if method == "s-dpo":
        return mean(math.log(len(ranking.responses)) for ranking in records)
    if isinstance(records[0], Ranking):
        return START.get(method, LN2)
    chosen = demo.logprobs(records, [pair.chosen for pair in records])
    if recipe.stem == "medpo":  # ranking, half a reversed one where there is a v', four times the likelihood
        seen = mean(pair.corrupted is not None for pair in records)
        return LN2 * (1 + 0.5 * seen) - 4 * mean(x.mean() for x in chosen)
    if method in ("sft", "rpo", "rpo-sum", "orpo", "simpo", "composed", "mrpo"):
        return likelihoods(demo, method, records, chosen, config)
    if recipe.stem == "papo":
        there = demo.logprobs(records, [pair.chosen for pair in records], bad=True)
        gaps = [b.double() - a.double() for a, b in zip(chosen, there, strict=True)]
        return LN2 - 0.01 * mean((gap.exp() - gap - 1).clamp_max(10).mean() for gap in gaps)
    weight = mean(pair.weights.example for pair in records) if method == "mmedpo" else 1.0
    return weight * START.get(method, LN2)


def likelihoods(demo: Demo, method: str, records: list[Any], chosen: list[Tensor], config: AlignConfig) -> float:
    """First loss of the methods that need the log-probabilities themselves."""
    nll, sums = -mean(x.mean() for x in chosen), -mean(x.sum() for x in chosen)
    rejected = demo.logprobs(records, [pair.rejected for pair in records])
    means = list(zip((x.double().mean() for x in chosen), (x.double().mean() for x in rejected), strict=True))
    match method:
        case "sft":
            return nll
        case "rpo":
            return LN2 + 0.2 * nll
        case "rpo-sum":
            return LN2 + 5e-5 * sums
        case "simpo":
            return mean(softplus(1 - 2 * (good - bad)) for good, bad in means)
        case "orpo":
            odds = [[x - (1 - x.exp()).log() for x in pair] for pair in means]
            return nll + 0.1 * mean(softplus(bad - good) for good, bad in odds)
        case "composed":  # opa-sft
            return nll - mean(x.mean() for x in demo.logprobs(records, [pair.reference for pair in records]))
    other = load_model(MODEL, adapter=config.reference_adapter, device="cpu")
    pairs = [[pair.chosen for pair in records], [pair.rejected for pair in records]]
    base, second = (
        torch.stack([torch.stack([x.double().sum() for x in demo.logprobs(records, side, vlm)]) for side in pairs], -1)
        for vlm in (demo.vlm, other)
    )
    scores = base - composite(second, base, 0.1)
    return mean(softplus(-0.1 * (scores[:, 0] - scores[:, 1])))


def mean(values: Iterable[Any]) -> float:
    found = [float(value) for value in values]
    return sum(found) / len(found)


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_trains_on_the_demo(recipe: Path, demo: Demo, second: Path, tmp_path: Path) -> None:
    flags: dict[str, Any] = {**SMALL, "batch": RECORDS}
    if recipe.stem == "mrpo":
        flags["reference_adapter"] = str(second)
    config = demo.settings("align", recipe, **flags)
    records = usable(demo, recipe, config)
    assert len(records) >= 8
    rejects: list[object] = []
    context = Context(demo.root, reject=lambda _id, error: rejects.append(error))
    steps = list(align.run(records, config, context, output=tmp_path / "adapter"))
    assert rejects == []
    assert [step.step for step in steps] == list(range(1, STEPS + 1))
    for step in steps:
        assert all(map(math.isfinite, (step.loss, step.grad_norm, *step.terms.values())))
        assert step.grad_norm > 0
    tolerance = 1e-3 if config.dtype == "bfloat16" else 2e-5
    assert steps[0].loss == pytest.approx(first_loss(demo, recipe, records, config), rel=tolerance, abs=tolerance)
    check_first_rewards(steps[0], recipe.stem)
    check_adapter(tmp_path / "adapter")


def check_first_rewards(step: Step, name: str) -> None:
    """Before the first step a policy is no better than its reference, exactly."""
    if name not in ("sft", "opa-sft", "orpo", "simpo", "mrpo"):
        assert (step.rewards["chosen"], step.rewards["rejected"], step.margin) == (0.0, 0.0, 0.0)


def check_adapter(folder: Path) -> None:
    """It is whole, loads, and has moved."""
    from safetensors.torch import load_file

    assert json.loads((folder / "adapter_config.json").read_text())["r"] == 8
    tensors = load_file(folder / "adapter_model.safetensors")
    assert all(bool(value.isfinite().all()) for value in tensors.values())
    assert any(bool(value.any()) for name, value in tensors.items() if "lora_B" in name)


BLOCKS = re.findall(r"```sh\n(.*?)```", (RECIPES[0].parents[1] / "docs/how-to/objectives.md").read_text(), re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=[block.splitlines()[0] for block in BLOCKS])
def test_the_commands_of_the_documentation_run_as_they_stand(block: str, tmp_path: Path) -> None:
    write_cases(tmp_path, split="validation", images=8, seed=3).rename(tmp_path / "cases.jsonl")
    (tmp_path / "recipes").symlink_to(RECIPES[0].parent)
    environment = {**os.environ, "PATH": str(Path(sys.executable).parent) + os.pathsep + os.environ["PATH"]}
    for variable, value in {"BATCH": "64", "ALIGN_RANK": "8", "ALIGN_LORA_ALPHA": "16"}.items():
        environment[f"MEDPO_{variable}"] = value
    assert len(block.splitlines()) >= 4
    step = 'medpo() { command medpo "$@" || { code=$?; [ $code -eq 3 ] || exit $code; }; }\n'
    done = subprocess.run(
        ["bash", "-c", step + block], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
        stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    made = re.findall(r"-o (adapter\S*)", block)
    assert all((tmp_path / name / "adapter_model.safetensors").exists() for name in made)
