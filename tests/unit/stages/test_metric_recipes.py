"""Metric programs as processes: CheXbert on tiny random weights, and what each says without weights."""

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import BertConfig, BertModel

PROGRAMS = Path(__file__).parents[3] / "recipes" / "metrics"
WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "no", "small", "left", "right", "effusion", "nodule", "heart"]
REPORTS = ["small left effusion", "no heart nodule", "right right heart", "", "no small\n effusion left", "left " * 600]


def spoken(program: str, *options: str, pairs: list[tuple[str, str]]) -> list[dict[str, Any]]:
    """The lines that a program says when asked about pairs of answer and reference."""
    asked = [json.dumps({"request": k, "answer": a, "reference": b}) for k, (a, b) in enumerate(pairs)]
    words = [sys.executable, str(PROGRAMS / f"{program}.py"), *options]
    done = subprocess.run(words, input="\n".join(asked), capture_output=True, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def chexbert(folder: Path) -> dict[str, torch.Tensor]:
    """Write a checkpoint of chexbert.pth's form and the folder of its encoder; the weights."""
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        max_position_embeddings=512, initializer_range=0.5,
    )  # fmt: skip
    (folder / "bert").mkdir()
    config.save_pretrained(folder / "bert")
    (folder / "bert" / "vocab.txt").write_text("\n".join(WORDS) + "\n")
    (folder / "bert" / "tokenizer_config.json").write_text('{"tokenizer_class": "BertTokenizer"}')
    weights = {f"module.bert.{name}": value for name, value in BertModel(config).state_dict().items()}
    for k in range(14):
        weights[f"module.linear_heads.{k}.weight"] = torch.randn(2 if k == 13 else 4, 16)
        weights[f"module.linear_heads.{k}.bias"] = torch.randn(2 if k == 13 else 4)
    torch.save({"epoch": 1, "model_state_dict": weights}, folder / "chexbert.pth")
    return weights


def labels(folder: Path, weights: dict[str, torch.Tensor], text: str) -> list[int]:
    """The 14 labels, written out: present (1) and uncertain (3) count."""
    model = BertModel(BertConfig.from_pretrained(folder / "bert")).eval()
    bert = {name.removeprefix("module.bert."): value for name, value in weights.items() if "bert." in name}
    model.load_state_dict(bert)
    ids = [2, *[WORDS.index(word) for word in text.split()][:510], 3]
    with torch.no_grad():
        first = model(torch.tensor([ids])).last_hidden_state[0, 0]
    out = []
    for k in range(14):
        scores = [
            sum(float(a) * float(b) for a, b in zip(row, first, strict=True)) + float(bias)
            for row, bias in zip(
                weights[f"module.linear_heads.{k}.weight"], weights[f"module.linear_heads.{k}.bias"], strict=True
            )
        ]
        out.append(int(scores.index(max(scores)) in (1, 3)))
    return out


def test_chexbert_on_random_weights(tmp_path: Path) -> None:
    weights = chexbert(tmp_path)
    pairs = list(zip(REPORTS, [*REPORTS[1:], REPORTS[0]], strict=True))
    hello, *replies = spoken("chexbert", str(tmp_path / "chexbert.pth"), str(tmp_path / "bert"), pairs=pairs)
    assert (len(hello["labels"]), len(hello["subsets"]["5"])) == (14, 5)
    truth = {text: labels(tmp_path, weights, text) for text in REPORTS}
    assert [one["answer"] for one in replies] == [truth[a] for a, _ in pairs]
    assert [one["reference"] for one in replies] == [truth[b] for _, b in pairs]
    assert len({tuple(one) for one in truth.values()}) > 2


def test_chexbert_refuses_another_checkpoint(tmp_path: Path) -> None:
    weights = chexbert(tmp_path)
    del weights["module.linear_heads.13.bias"]
    torch.save({"model_state_dict": weights}, tmp_path / "chexbert.pth")
    with pytest.raises(subprocess.CalledProcessError) as caught:
        spoken("chexbert", str(tmp_path / "chexbert.pth"), str(tmp_path / "bert"), pairs=[])
    assert "14 heads" in caught.value.stderr


@pytest.mark.parametrize(
    ("program", "paths"), [("bertscore", 1), ("chexbert", 2), ("ratescore", 2), ("radgraph_f1", 2), ("green", 1)]
)
def test_missing_weights_are_said_at_once(tmp_path: Path, program: str, paths: int) -> None:
    (tmp_path / "readme").write_text("x")
    started = time.monotonic()
    (hello,) = spoken(program, *[str(tmp_path)] * paths, pairs=[("a", "b")])
    assert hello["missing"] == "weights"
    assert time.monotonic() - started < 3


@pytest.mark.parametrize(
    ("name", "content"), [("config.json", '{"auto_map": {"AutoModel": "x.Y"}}'), ("modeling_x.py", "raise SystemExit")]
)
def test_green_refuses_a_folder_with_code_and_other_transformers(tmp_path: Path, name: str, content: str) -> None:
    for there in ("config.json", "vocab.json"):
        (tmp_path / there).write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(subprocess.CalledProcessError) as other:
        spoken("green", str(tmp_path), pairs=[])
    assert "transformers 4.40.x is needed" in other.value.stderr  # the suite has a later one
    (tmp_path / name).write_text(content)
    with pytest.raises(subprocess.CalledProcessError) as code:
        spoken("green", str(tmp_path), pairs=[])
    assert "brings code of its own" in code.value.stderr
