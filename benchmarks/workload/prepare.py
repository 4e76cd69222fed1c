"""Child of the driver: writes one model folder or one data folder (the driver itself stays small)."""

import json
import sys
from pathlib import Path

from workload import models, pairs


def main() -> None:
    """Read one job from the command line."""
    job = json.loads(sys.argv[1])
    folder = Path(job["folder"])
    if job["what"] == "model":
        models.save_model(
            job["name"], pairs.sentences(), folder, vocabulary=job.get("vocabulary", 0), device=job.get("device", "cpu")
        )
        return
    from transformers import AutoTokenizer

    made = pairs.make(job["kind"], job["records"], questions=job["questions"], share_corrupted=job["share_corrupted"])
    pairs.check_lengths(AutoTokenizer.from_pretrained(job["model"]), made, job["kind"])
    pairs.write(folder, made, models.MODELS[job["name"]].side)


if __name__ == "__main__":
    main()
