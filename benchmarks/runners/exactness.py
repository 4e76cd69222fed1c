"""In one process: largest difference of loss and of any gradient between the naive form and medpo's engine."""

import json
import sys
from pathlib import Path

import torch
from medpo import Medpo
from naive import Naive


def main() -> None:
    """Compare the first step of one job; writes ``loss`` and ``gradient`` (relative to the largest gradient)."""
    job = json.loads(sys.argv[1])
    torch.set_num_threads(1)
    naive, medpo = Naive(job), Medpo(job)
    expected, found = naive.step(0), medpo.step(0)
    mine = {name: p.grad for name, p in medpo.vlm.base.named_parameters() if p.requires_grad}
    theirs = {name: p.grad for name, p in naive.model.get_base_model().named_parameters() if p.requires_grad}
    if mine.keys() != theirs.keys():
        raise SystemExit("the two forms train different parameters")
    largest = max(float(gradient.abs().max()) for gradient in theirs.values())
    gap = max(float((mine[name] - theirs[name]).abs().max()) for name in mine)
    Path(job["result"]).write_text(json.dumps({"loss": abs(found - expected), "gradient": gap / largest}))


if __name__ == "__main__":
    main()
