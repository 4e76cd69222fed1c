"""Mask program for ``medpo masks --mask-cmd``: SAM 3 (or a merged MedSAM3) from a local folder.

    medpo masks pairs.jsonl --mask-cmd "/opt/sam3/bin/python sam3.py /models/sam3" -o pairs.m.jsonl

Runs in an environment of its own with transformers (Sam3Model), torch, torchvision, pillow and numpy; medpo need
not be there. The folder is a Hugging Face one with weights and processor; nothing is downloaded.

Settings are those published for MedSAM3 in FiRe-MPO: detections above 0.5, masks above 0.5, their union. Written
against transformers' Sam3Model and Sam3Processor; not run on real weights by medpo's makers, who have none.
"""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image  # noqa: TID253 - a program of its own

THRESHOLD = 0.5
Found = tuple[np.ndarray, float] | None
"""Union of the masks, bool [H, W], and the best score; None: nothing was found."""


def load(folder: str) -> Callable[[Image.Image, str], Found]:
    """A function from picture and words to a mask."""
    import torch
    from transformers import Sam3Model, Sam3Processor

    device = "cuda" if torch.cuda.is_available() else "cpu"
    model = Sam3Model.from_pretrained(folder, local_files_only=True).to(device).eval()
    processor = Sam3Processor.from_pretrained(folder, local_files_only=True)

    def segment(picture: Image.Image, words: str) -> Found:
        inputs = processor(images=picture, text=words, return_tensors="pt").to(device)
        with torch.inference_mode():
            outputs = model(**inputs)
        (found,) = processor.post_process_instance_segmentation(
            outputs, threshold=THRESHOLD, mask_threshold=THRESHOLD, target_sizes=[picture.size[::-1]]
        )
        if not len(found["scores"]):
            return None
        return found["masks"].bool().any(0).cpu().numpy(), float(found["scores"].max())

    return segment


def serve(segment: Callable[[Image.Image, str], Found], name: str, version: str) -> None:
    """Speak medpo-masks/1 on the standard streams until the input ends."""
    # Libraries print: the lines of the protocol go to a private copy of standard output.
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def say(line: dict[str, object]) -> None:
        out.write(json.dumps(line) + "\n")
        out.flush()

    say({"protocol": "medpo-masks/1", "name": name, "version": version})
    for line in sys.stdin:
        request = json.loads(line)
        say({"request": request["request"], **answer(segment, request)})


def answer(segment: Callable[[Image.Image, str], Found], request: dict[str, str | None]) -> dict[str, object]:
    """Status and mask of one request; one that fails must not end the others."""
    if request["view"] is None:  # a volume without a slice: this model sees pictures only
        return {"status": "no-target"}
    try:
        found = segment(Image.open(request["view"]).convert("RGB"), str(request["target"]))
    except Exception as error:
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
        return {"status": "error"}
    if found is None or not found[0].any():
        return {"status": "not-found"}
    path = Path(str(request["folder"]), "mask.png")
    Image.fromarray(found[0].astype(np.uint8) * 255).save(path)
    return {"status": "ok", "mask": str(path), "score": min(1.0, max(0.0, found[1]))}


if __name__ == "__main__":
    if len(sys.argv) != 2 or not Path(sys.argv[1]).is_dir():
        sys.exit("usage: sam3.py MODEL_FOLDER")
    serve(load(sys.argv[1]), Path(__file__).stem, "1")
