"""recipes/metrics/bertscore.py on a tiny random BERT, through ``medpo eval``, against cosines written out."""

import importlib.machinery
import json
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import BertConfig, BertModel, PreTrainedTokenizerFast

from medpo_cli.errors import UnavailableError
from medpo_cli.io.context import Context
from medpo_cli.schema.config import EvalConfig
from medpo_cli.schema.records import ImageRef, Policy, Response, Sample, Score
from medpo_cli.stages import eval as stage

PROGRAM = Path(__file__).parents[3] / "recipes" / "metrics" / "bertscore.py"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "no", "small", "left", "right", "effusion", "nodule", "heart"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bert")
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=3, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=32, initializer_range=0.5,
    )  # fmt: skip
    BertModel(config).save_pretrained(path)
    words = Tokenizer(models.WordLevel({word: k for k, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = pre_tokenizers.Whitespace()
    words.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    names = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]", "pad_token": "[PAD]"}
    PreTrainedTokenizerFast(tokenizer_object=words, **names).save_pretrained(path)
    return path


def slow(folder: Path, layer: int, answer: str, reference: str) -> tuple[float, float, float]:
    """Precision, recall, F1 with loops over tokens."""
    model = BertModel.from_pretrained(folder).eval()

    def vectors(text: str) -> list[list[float]]:
        ids = [2, *(WORDS.index(word) for word in text.split()), 3]
        with torch.no_grad():
            return model(torch.tensor([ids]), output_hidden_states=True).hidden_states[layer][0].tolist()

    def cosine(a: list[float], b: list[float]) -> float:
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        return dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b))

    ours, theirs = vectors(answer), vectors(reference)
    precision = [max(cosine(one, other) for other in theirs) for one in ours[1:-1]]
    recall = [max(cosine(one, other) for other in ours) for one in theirs[1:-1]]
    p, r = sum(precision) / len(precision), sum(recall) / len(recall)
    return p, r, 2 * p * r / (p + r)


def scored(tmp: Path, folder: Path, options: str, *answers: str, **settings: Any) -> list[Score]:
    lines = f"[metric.bertscore]\ncommand = {json.dumps(f'{sys.executable} {PROGRAM} {{weights}} {options}')}\n"
    (tmp / "m.toml").write_text(f"{lines}weights = {json.dumps(str(folder))}\n")
    records = [
        Sample(
            id=str(k), image=ImageRef(path="x.png"), prompt="?", reference="small left effusion", task="report",
            policy=Policy(model="m", digest="0" * 64), responses=[Response(text=answer)],
        )
        for k, answer in enumerate(answers)
    ]  # fmt: skip
    config = EvalConfig(bootstrap=100, metrics=str(tmp / "m.toml"), **settings)
    return [one for one in stage.run(records, config, Context()) if isinstance(one, Score)]


@pytest.fixture(scope="module")
def program() -> Iterator[Any]:
    # What the program imports sets variables for its own process: here they must not outlive it.
    with mock.patch.dict(os.environ), pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PROGRAM.parent))
        yield importlib.machinery.SourceFileLoader("bertscore_recipe", str(PROGRAM)).load_module()


@pytest.mark.parametrize("layer", [0, 1, None])
def test_greedy_matching_of_the_layer_that_was_chosen(program: Any, folder: Path, layer: int | None) -> None:
    score = program.load(str(folder), layer, 512)
    for answer in ("small right effusion", "no heart nodule nodule", "left"):
        made = tuple(score(answer, "small left effusion").values())
        assert made == pytest.approx(
            slow(folder, 3 if layer is None else layer, answer, "small left effusion"), abs=1e-5
        )


def test_through_eval(tmp_path: Path, folder: Path) -> None:
    answers = ["small right effusion", "small left effusion"]
    scores = scored(tmp_path, folder, "--layer 2", *answers)
    for score, answer in zip(scores, answers, strict=True):
        got = [score.metrics[f"metric.bertscore.value.{name}"] for name in ("precision", "recall", "f1")]
        assert got == pytest.approx(slow(folder, 2, answer, "small left effusion"), abs=1e-5)
    assert scores[1].metrics["metric.bertscore.value.f1"] == pytest.approx(1, abs=1e-5)
    told = (scores[0].ext or {})["metrics"]["bertscore"]["program"]
    assert told.startswith("bertscore 1+layer.2.no-idf.transformers.")


def test_an_empty_answer_scores_zero_and_a_long_one_is_cut(program: Any, folder: Path) -> None:
    score = program.load(str(folder), None, 8)
    assert score("", "small")["f1"] == 0
    assert score("small " * 100, "left heart") == score("small " * 6, "left heart")


def test_weights_have_names_of_their_own(program: Any, folder: Path, tmp_path: Path) -> None:
    (tmp_path / "a.safetensors").write_bytes(b"other")
    assert program.digest(folder) != program.digest(tmp_path)


def test_a_folder_without_a_model_and_a_layer_that_is_not_there(tmp_path: Path, program: Any, folder: Path) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "readme").write_text("x")
    with pytest.raises(UnavailableError, match="weights not found"):
        scored(tmp_path, tmp_path / "other", "", "x", require="bertscore")
    with pytest.raises(SystemExit, match="from 0 to 3"):
        program.load(str(folder), 4, 512)
