"""Search a mix of terms on validation cases: every trial to docs/results/search.jsonl, the best to recipes/medpo.toml.

    OMP_NUM_THREADS=1 python benchmarks/search.py [--folder FOLDER]

Budget: the references, DRAWN mixes of the space, NEAR neighbours of the best of them, each with one seed, then the
best FINAL mixes with further seeds; in a second round NEAR neighbours of the demo's recipe, and again FINAL of all.
Held-out pictures and training seeds are other ones than those of benchmarks/results.py. Finished trials are not done
again.
"""

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from study import data
from study.arms import METHODS
from study.recipe import recipe
from study.runs import Arm, Run, run_one
from study.search import DEMO, TOLERANCE, Mix, arm, chosen, drawn, floor_of, neighbours, ranked
from study.table import ROWS

from medpo_cli.cli.progress import make_progress
from medpo_cli.demo.recipe import SETTINGS
from medpo_cli.evaluation.summaries import summarise
from medpo_cli.io.context import Progress
from medpo_cli.io.log import Messages
from medpo_cli.schema.records import Score, Trial

TABLE = Path(__file__).parent.parent / "docs" / "results" / "search.jsonl"
RECIPE = Path(__file__).parent.parent / "recipes" / "medpo.toml"
DRAWN, NEAR, FINAL = 14, 8, 2
FIRST_SEED, MORE_SEEDS = 100, (101, 102)
IMAGES, HELD_OUT = 300, 150
OWN = {name: SETTINGS["align"][name] for name in ("beta", "gamma", "alpha", "nll", "lr")}
REFERENCES = [
    *(one for one in METHODS if one.name in ("sft on edits", "mdpo, crops")),
    Arm("demo recipe", "pairs.v.jsonl", {"method": "fire-mpo", **OWN}),
]


class Search:
    """Runs trials in a folder and remembers them in order."""

    def __init__(self, folder: Path, progress: Progress) -> None:
        self._folder = folder
        self._progress = progress
        self.trials: list[Trial] = []
        data.make(
            folder,
            domain="phantom",
            split="validation",
            images=IMAGES,
            held_out=HELD_OUT,
            progress=progress,
            tasks={"report"},
        )
        (folder / "runs").mkdir(exist_ok=True)
        self._base = run_one(folder, "phantom", None, 0)

    def trial(self, one: Arm, seed: int) -> Trial:
        """Train, score, and log, unless that was done before."""
        if done := [old for old in self.trials if (old.run, old.seed) == (one.name, seed)]:
            return done[0]
        run = run_one(self._folder, "phantom", one, seed)
        settings = {"pairs": one.pairs, "align": one.settings}
        metrics = self._metrics(run)
        found = Trial(run=one.name, seed=seed, metrics=metrics, seconds=round(run.seconds, 1), settings=settings)
        self.trials.append(found)
        data.write(TABLE, self.trials)
        self._progress.advance()
        return found

    def _metrics(self, run: Run) -> dict[str, float]:
        found: dict[str, float] = {}
        for part in ("cases", "pairs"):
            scores: dict[str, Sequence[Score]] = {"base": getattr(self._base, part), "arm": getattr(run, part)}
            summaries = summarise(scores, resamples=100, seed=0, versions={})
            summary = next(one for one in summaries if one.arm == "arm" and one.against is None)
            found |= {name: round(summary.metrics[name].value, 6) for name in ROWS if name in summary.metrics}
        return found


def main() -> None:
    """Spend the budget."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "medpo-search")
    options = parser.parse_args()
    progress = make_progress(Messages("search"))
    search = Search(options.folder, progress)
    rounds = 2 * NEAR + DRAWN + 1 + 2 * FINAL * len(MORE_SEEDS)
    progress.start("trials", len(REFERENCES) * (1 + len(MORE_SEEDS)) + rounds)
    for seed in (FIRST_SEED, *MORE_SEEDS):
        for one in REFERENCES:
            search.trial(one, seed)
    first = first_round(search)
    second_round(search, first)
    RECIPE.write_text(recipe(chosen(search.trials)), encoding="utf-8")


def first_round(search: Search) -> list[Trial]:
    """Drawn mixes, neighbours of the best, further seeds of the best of all."""
    mixes = {arm(mix).name: mix for mix in drawn(DRAWN)}
    floor = floor_of(search.trials)
    found = [search.trial(arm(mix), FIRST_SEED) for mix in mixes.values()]
    found += [search.trial(arm(mix), FIRST_SEED) for mix in near(mixes[ranked(found, floor)[0].run])]
    again(search, ranked(found, floor)[:FINAL])
    return found


def second_round(search: Search, found: list[Trial]) -> None:
    """The demo's recipe and neighbours of it, further seeds of the best of both rounds."""
    found += [search.trial(arm(mix), FIRST_SEED) for mix in (DEMO, *near(DEMO))]
    again(search, ranked(found, floor_of(search.trials), tolerance=TOLERANCE)[:FINAL])


def again(search: Search, best: Sequence[Trial]) -> None:
    """The same arms with further seeds."""
    for one in best:
        settings = one.settings or {}
        for seed in MORE_SEEDS:
            search.trial(Arm(one.run, settings["pairs"], settings["align"]), seed)


def near(mix: Mix) -> Iterator[Mix]:
    """NEAR of the neighbours, spread evenly over their list."""
    others = neighbours(mix)
    yield from (others[number * len(others) // NEAR] for number in range(NEAR))


if __name__ == "__main__":
    main()
