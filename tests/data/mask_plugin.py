"""A mask program for the tests of medpo-masks/1: finds what is bright, or misbehaves as its first word says."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import nibabel
import numpy as np
from PIL import Image


def say(line: dict[str, object]) -> None:
    print(json.dumps(line), flush=True)


def write(request: dict[str, str], how: str) -> str:
    """The mask of voxels above 100, as a file."""
    folder = Path(request["folder"])
    source = nibabel.load(request["image"])
    array = np.asarray(source.dataobj)
    mask = (array > 100).astype(np.uint8)
    if how == "png":
        picture = np.asarray(Image.open(request["view"]))[..., 0]
        Image.fromarray((picture > 100).astype(np.uint8) * 255).save(folder / "mask.png")
        return str(folder / "mask.png")
    if how == "small-png":
        Image.fromarray(np.zeros((3, 3), np.uint8)).save(folder / "mask.png")
        return str(folder / "mask.png")
    affine = source.affine.copy()
    if how == "shifted":
        affine[0, 3] += 5
    changed = {
        "short": mask[:-1], "float": mask * 0.5, "empty": mask * 0, "everything": mask * 0 + 1,
    }.get(how, mask)  # fmt: skip
    path = Path("/tmp" if how == "outside" else folder, "mask.nii.gz")
    if how == "outside":
        return str(path)
    nibabel.save(nibabel.Nifti1Image(changed, affine, dtype=changed.dtype), path)
    return str(path)


def main(how: str) -> None:
    if how == "late":
        time.sleep(60)
    if how == "stranger":
        print("Loading weights ...", flush=True)
    say({"protocol": "medpo-masks/1", "name": "bright", "version": "0.1"})
    for line in sys.stdin:
        request = json.loads(line)
        print("SECRET words of a tool", file=sys.stderr)
        number = request["request"]
        if how == "slow":
            subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=False)
            time.sleep(600)
        if how == "crash" or (how == "crash-once" and number == 1):
            os._exit(9)
        if how == "chatter":
            print("progress 1/1", flush=True)
        if how == "endless":
            sys.stdout.write("x" * 10**6)
            sys.stdout.flush()
        if how in ("not-found", "no-target", "low-score", "error"):
            say({"request": number, "status": how})
            continue
        if how == "other":
            number += 1
        reply: dict[str, object] = {"request": number, "status": "ok", "score": 0.75}
        if how != "forgets":
            reply["mask"] = write(request, how)
        if how == "environment":
            Path(request["folder"]).with_name("environment.json").write_text(json.dumps(dict(os.environ)))
        say(reply)


main(sys.argv[1])
