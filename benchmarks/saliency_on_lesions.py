"""How much of the demo's lesions the most salient 5 % of the picture hold, for each method.

python benchmarks/saliency_on_lesions.py      (half a minute on one core)
"""

import tempfile
from pathlib import Path

import numpy as np

from medpo_cli.demo import MODEL
from medpo_cli.demo.cases import write_cases
from medpo_cli.imaging.read import read_image
from medpo_cli.imaging.regions import region_mask, union
from medpo_cli.imaging.window import load_view
from medpo_cli.io.context import Context
from medpo_cli.io.stream import read_all
from medpo_cli.models.load import load_model
from medpo_cli.models.saliency import Method, Question, saliency
from medpo_cli.schema.records import Case
from medpo_cli.stages.saliency import most_salient

METHODS: list[Method] = ["gradient", "occlusion", "attention"]
SHARE, CASES = 0.05, 24


def main() -> None:
    """Print the mean share of lesion pixels that are marked; chance is SHARE."""
    policy = load_model(MODEL)
    with tempfile.TemporaryDirectory() as place:
        root, context = Path(place), Context(place)
        path = write_cases(root, images=12, split="test")
        with path.open("rb") as stream:
            cases = [case for case in read_all(stream, "cases", (Case,)) if isinstance(case, Case) and case.regions]
        held: dict[Method, list[float]] = {method: [] for method in METHODS}
        for case in cases[:CASES]:
            ref = case.images[0]
            image, view = read_image(root / ref.path), load_view(ref, context)
            lesion = union([region_mask(region, image, context, None, "$") for region in case.regions or []])
            for method in METHODS:
                found = saliency(policy, Question(case.prompt, [view], case.reference or ""), method)
                held[method].append(float(most_salient(found, SHARE)[lesion[:, :, 0].T].mean()))
    for method, shares in held.items():
        print(f"{method:10} {np.mean(shares):.2f} of {len(shares)} cases (chance {SHARE})")


if __name__ == "__main__":
    main()
