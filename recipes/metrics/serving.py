"""What the metric programs of this folder share: offline, missing weights, a name for weights, medpo-metric/1.

Lies beside them; ``medpo recipe cp metrics/NAME.py`` brings it along. Standard library only, so that a program whose
weights are missing says so at once. Importing it turns downloads off, which must be done before transformers is
imported.
"""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

os.environ.update(HF_HUB_OFFLINE="1", TRANSFORMERS_OFFLINE="1", HF_HUB_DISABLE_TELEMETRY="1")
# Weights in pickles, which some packages read, may hold tensors and nothing that runs.
os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"

PROTOCOL = "medpo-metric/1"
WEIGHTS = (".safetensors", ".bin", ".pth", ".pt", ".th")
VOCABULARIES = ("tokenizer.json", "vocab.txt", "spm.model", "tokenizer.model", "vocab.json")
Answer = dict[str, object]
Scorer = Callable[[str, str], Answer]


def has_weights(folder: Path) -> bool:
    """Whether this is a folder with settings and weights of a model."""
    return (folder / "config.json").is_file() and any(path.suffix in WEIGHTS for path in folder.iterdir())


def has_tokenizer(folder: Path) -> bool:
    """Whether this is a folder with settings and a vocabulary."""
    return (folder / "config.json").is_file() and any((folder / name).is_file() for name in VOCABULARIES)


def digest(*paths: Path) -> str:
    """Eight digits that tell these weights (files, or all weight files of folders) from others."""
    found = hashlib.sha256()
    for given in paths:
        for path in sorted(given.iterdir()) if given.is_dir() else [given]:
            if path.is_file() and (path.suffix in WEIGHTS or path == given):
                with path.open("rb") as stream:
                    found.update(hashlib.file_digest(stream, "sha256").digest())
    return found.hexdigest()[:8]


def serve(name: str, kind: Mapping[str, object], found: bool, prepare: Callable[[], tuple[Scorer, str]]) -> None:
    """Speak medpo-metric/1 on the standard streams until the input ends.

    A report that raises is answered with an error; the reason, never the text, goes to standard error.

    Args:
        name: of the metric.
        kind: which answers it gives, as in the first line: ``values``, ``labels`` with ``subsets``, or ``analysis``.
        found: whether the weights are there; if not, that is all that is said.
        prepare: loads; gives a function from answer and reference to the fields of a reply, and the version.
    """
    # Libraries print: the lines of the protocol go to a private copy of standard output.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(line: Mapping[str, object]) -> None:
        out.write(json.dumps(line) + "\n")
        out.flush()

    hello = {"protocol": PROTOCOL, "name": name}
    if not found:
        say({**hello, "version": "0", "missing": "weights"})
        return
    score, version = prepare()
    say({**hello, "version": version, **kind})
    for line in sys.stdin:
        asked = json.loads(line)
        try:
            reply = score(asked["answer"], asked["reference"])
        except Exception as error:
            sys.stderr.write(f"{name}: {type(error).__name__} at request {asked['request']}\n")
            reply = {"error": True}
        say({"request": asked["request"], **reply})
