"""Metric program for ``medpo eval --metrics``: BERTScore (Zhang 2020) from a local folder, on transformers alone.

    [metric.bertscore]
    command = "/opt/bert/bin/python bertscore.py {weights} --layer 9"
    weights = "/models/bert"

Runs in an environment of its own with transformers and torch; medpo need not be there, serving.py must lie beside it.
Nothing is downloaded, weights are read from safetensors only.

Definition: hidden states of one layer (0: embeddings; default: the last), each token's vector divided by its length;
recall is the mean over the reference's tokens of the highest cosine with a token of the answer, precision the mean over
the answer's tokens, F1 their harmonic mean. [CLS] and [SEP] are matched but not averaged, no idf weights,
no rescaling with a baseline. An answer without tokens scores 0. Texts are cut at --max-tokens (512), as bert-score
does. Which layer fits a model is a choice that must be made and told: bert-score uses 9 for bert-base and 17 for
roberta-large. The version that scores carry names layer, transformers and a hash of the weights.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

from serving import Scorer, digest, has_tokenizer, has_weights, serve

Score = dict[str, float]
VALUES = ["precision", "recall", "f1"]


def load(folder: str, layer: int | None, longest: int) -> Callable[[str, str], Score]:
    """A function from answer and reference to precision, recall and F1."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    model = AutoModel.from_pretrained(folder, local_files_only=True, use_safetensors=True, dtype=torch.float32)
    model = model.to("cuda" if torch.cuda.is_available() else "cpu").eval()
    layers = model.config.num_hidden_layers
    chosen = layers if layer is None else layer
    if not 0 <= chosen <= layers:
        sys.exit(f"--layer must be from 0 to {layers}")

    def vectors(text: str) -> tuple[torch.Tensor, torch.Tensor]:
        """Unit vectors [tokens, width], and which tokens count in the mean."""
        encoded = tokenizer(text.strip(), truncation=True, max_length=longest, return_tensors="pt").to(model.device)
        with torch.inference_mode():
            hidden = model(**encoded, output_hidden_states=True).hidden_states[chosen][0]
        special = tokenizer.get_special_tokens_mask(encoded["input_ids"][0].tolist(), already_has_special_tokens=True)
        return torch.nn.functional.normalize(hidden, dim=-1), torch.tensor(special, device=model.device) == 0

    def score(answer: str, reference: str) -> Score:
        ours, said = vectors(answer)
        theirs, told = vectors(reference)
        if not said.any() or not told.any():
            return dict.fromkeys(VALUES, 0.0)
        cosines = ours @ theirs.T
        precision = float(cosines.max(dim=1).values[said].mean())
        recall = float(cosines.max(dim=0).values[told].mean())
        total = precision + recall
        return dict(zip(VALUES, (precision, recall, 2 * precision * recall / total if total else 0.0), strict=True))

    return score


def main() -> None:
    """Load, then serve."""
    parser = argparse.ArgumentParser(description="BERTScore of reports for medpo eval --metrics")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--layer", type=int)
    parser.add_argument("--max-tokens", type=int, default=512)
    given = parser.parse_args()

    def prepare() -> tuple[Scorer, str]:
        score = load(str(given.folder), given.layer, given.max_tokens)
        import transformers

        layer = "last" if given.layer is None else given.layer
        version = f"1+layer.{layer}.no-idf.transformers.{transformers.__version__}.weights.{digest(given.folder)}"
        return lambda answer, reference: {"values": score(answer, reference)}, version

    there = has_tokenizer(given.folder) and has_weights(given.folder)
    serve("bertscore", {"values": VALUES}, there, prepare)


if __name__ == "__main__":
    main()
