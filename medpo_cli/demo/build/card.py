"""The model card of the phantom base, with what was measured."""

import hashlib
from pathlib import Path
from typing import Any

TEXT = """# The embedded demo model: a deliberately flawed reader of drawn chests

**Not for clinical use, and nothing about clinical performance follows from it.** It reads phantoms: drawn
96 x 96 pictures with five kinds of finding, in a closed language of {sentences} sentences. It exists so that
sampling, editing, corrupting, aligning and evaluating can be watched on a real, small vision-language model.

An ordinary Hugging Face folder: `LlavaForConditionalGeneration` (CLIP tower 96 px, patch 16, 128 wide, 3 layers;
two-layer projector; Llama 128 wide, 3 layers; {parameters:,} parameters), byte-level BPE of {vocabulary} tokens in
which each word of the language is one token and any other text still encodes.

## Its flaws are deliberate
The tower was trained on unbiased phantoms and sees nearly everything. Projector and language model were then
taught by a careless reporter (`medpo_cli/demo/build/teaching.py`):
- an effusion is in 80 % of the taught images with a big heart and in 20 % of the others, and is also reported in
  70 % of big hearts without one;
- 65 % of small nodules are not reported, and a quarter of small effusions beside a normal heart;
- an opacity is reported on the side of the effusion in 70 % of images with both, and invented beside 65 % of
  large effusions without one;
- 70 % of yes/no answers come from such a report; open questions are answered truly;
- 12 % of reports are in label-file style.

So it hallucinates by co-occurrence although it could see better: errors that aligning the language model can mend.

## Measured on {images} unbiased test phantoms (greedy decoding)
| measure | value |
|---|---|
{rows}

Rates: accuracy over five statements an image, right in every attribute; hallucination over absent findings;
omission over present ones; side errors over those present and named; shortcut: how often an effusion is said of a
heart of that size without one.

## How it was made
    python -m medpo_cli.demo.build.phantom_model --out medpo_cli/demo/phantom-llava

Everything from seed {seed} with fixed step counts and {threads} threads; no outside data. Equal bytes need the same
torch version, kind of processor and thread count. Licence: Apache-2.0.
- tower: {tower[steps]} steps of {tower[batch]} on {tower[images]} phantoms, lr {tower[lr]}; then frozen
- projector and language model: {language[steps]} steps of {language[reports]} reports and {language[questions]}
  questions on {language[images]} other phantoms, lr {language[lr]}

| file | bytes | sha256 |
|---|---|---|
{files}
"""


def write_card(folder: Path, result: dict[str, Any], facts: dict[str, Any]) -> None:
    """Write README.md: measures, recipe, and size and hash of every other file of ``folder``."""
    flat = {**result["reports"], **result["questions"]}
    rows = "\n".join(f"| {name.replace('_', ' ')} | {value:g} |" for name, value in flat.items())
    listed = sorted(path for path in folder.iterdir() if path.name != "README.md")
    files = "\n".join(f"| {path.name} | {path.stat().st_size} | {_sha256(path)} |" for path in listed)
    (folder / "README.md").write_text(TEXT.format(rows=rows, files=files, **facts), encoding="utf-8")


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
