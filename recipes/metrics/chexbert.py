"""Metric program for ``medpo eval --metrics``: CheXbert F1-14 and F1-5 (Smit 2020) from local files, on transformers.

    [metric.chexbert]
    command = "/opt/bert/bin/python chexbert.py {weights}"
    weights = ["/models/chexbert/chexbert.pth", "/models/bert-base-uncased"]

The first is CheXbert's checkpoint; of the second only config.json and the vocabulary are read. Runs in an environment
with transformers and torch; serving.py must lie beside it. Nothing is downloaded; the checkpoint may hold tensors and
no code.

Definition, as in the package f1chexbert: white space is squeezed; 512 word pieces at most, with [CLS] and [SEP]; each
of 14 linear heads reads the last layer's [CLS]. The first 13 choose among blank, present, absent, uncertain; present
and uncertain count as 1. The last head (no finding) chooses between 0 and 1. medpo makes micro and macro F1 of all 14
and of five: its ``labels_micro_5`` is the usual "micro F1-5".
"""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from serving import Scorer, digest, has_tokenizer, serve

LABELS = [
    "enlarged_cardiomediastinum", "cardiomegaly", "lung_opacity", "lung_lesion", "edema", "consolidation", "pneumonia",
    "atelectasis", "pneumothorax", "pleural_effusion", "pleural_other", "fracture", "support_devices", "no_finding",
]  # fmt: skip
FIVE = ["cardiomegaly", "edema", "consolidation", "atelectasis", "pleural_effusion"]
PRESENT, UNCERTAIN = 1, 3
LONGEST = 512
HEAD = "linear_heads."


def parts(checkpoint: Mapping[str, Any]) -> tuple[dict[str, Any], list[tuple[Any, Any]]]:
    """The encoder's weights, and weight and bias of each head; the pooler is not used.

    Args:
        checkpoint: what chexbert.pth holds; names of weights may begin with ``module.``.
    """
    held = {name.removeprefix("module."): value for name, value in checkpoint["model_state_dict"].items()}
    unused = ("bert.pooler.", "bert.embeddings.position_ids")
    bert = {n.removeprefix("bert."): v for n, v in held.items() if n.startswith("bert.") and not n.startswith(unused)}
    heads = [(held.get(f"{HEAD}{k}.weight"), held.get(f"{HEAD}{k}.bias")) for k in range(len(LABELS))]
    widths = [4] * (len(LABELS) - 1) + [2]
    if any(w is None or b is None or len(w) != n or len(b) != n for (w, b), n in zip(heads, widths, strict=True)):
        sys.exit("the checkpoint does not have the 14 heads of CheXbert")
    return bert, heads


def load(checkpoint: str, folder: str) -> Callable[[str], list[int]]:
    """A function from a report to 14 labels, 0 or 1."""
    import torch
    from transformers import AutoTokenizer, BertConfig, BertModel

    device = "cuda" if torch.cuda.is_available() else "cpu"
    bert, heads = parts(torch.load(checkpoint, map_location=device, weights_only=True))
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = BertModel(BertConfig.from_pretrained(folder, local_files_only=True), add_pooling_layer=False)
    try:
        model.load_state_dict(bert)
    except RuntimeError:
        sys.exit("the checkpoint is not of the encoder that config.json describes")
    model = model.to(device).eval()

    def labels(text: str) -> list[int]:
        pieces = tokenizer(" ".join(text.split()), add_special_tokens=False)["input_ids"][: LONGEST - 2]
        ids = [tokenizer.cls_token_id, *pieces, tokenizer.sep_token_id]
        with torch.inference_mode():
            first = model(torch.tensor([ids], device=device)).last_hidden_state[0, 0]
            chosen = [int((weight @ first + bias).argmax()) for weight, bias in heads]
        return [int(one in (PRESENT, UNCERTAIN)) for one in chosen]

    return labels


def main() -> None:
    """Load, then serve."""
    parser = argparse.ArgumentParser(description="CheXbert labels of reports for medpo eval --metrics")
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("bert", type=Path)
    given = parser.parse_args()

    def prepare() -> tuple[Scorer, str]:
        labels = load(str(given.checkpoint), str(given.bert))
        import transformers

        version = f"1+uncertain.positive.transformers.{transformers.__version__}.weights.{digest(given.checkpoint)}"
        return lambda answer, reference: {"answer": labels(answer), "reference": labels(reference)}, version

    there = given.checkpoint.is_file() and has_tokenizer(given.bert)
    serve("chexbert", {"labels": LABELS, "subsets": {"5": FIVE}}, there, prepare)


if __name__ == "__main__":
    main()
