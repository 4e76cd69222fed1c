"""Methods x seeds on the embedded demo's test cases; writes docs/results/DOMAIN.json and docs/results.md.

The best mix of benchmarks/search.py and its ablation stand behind the methods.

    OMP_NUM_THREADS=1 python benchmarks/results.py [--domain ct] [--seeds 3] [--folder FOLDER]
    python benchmarks/results.py --page        only write the page again from the committed JSON

What is finished in FOLDER is not done again, so that a stopped study goes on where it was. Progress on stderr.
"""

import argparse
import tempfile
from pathlib import Path

from study import data
from study.arms import METHODS
from study.page import write_page
from study.recipe import ablation
from study.runs import run_all
from study.table import keep, save

from medpo_cli.cli.progress import make_progress
from medpo_cli.io.log import Messages

DOCS = Path(__file__).parent.parent / "docs"
SIZES = {"phantom": (500, 300), "ct": (300, 300)}
"""Training and test pictures."""
ABLATION_SEEDS = 2


def main() -> None:
    """Run the study, keep its numbers, write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--domain", choices=list(SIZES), default="phantom")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--folder", type=Path, default=None)
    parser.add_argument("--page", action="store_true")
    options = parser.parse_args()
    if not options.page:
        study(options.domain, options.seeds, options.folder)
    write_page(DOCS)


def study(domain: str, seeds: int, folder: Path | None) -> None:
    """All methods of a domain with all seeds."""
    images, held_out = SIZES[domain]
    folder = folder or Path(tempfile.gettempdir()) / f"medpo-study-{domain}"
    progress = make_progress(Messages("study"))
    data.make(folder, domain=domain, split="test", images=images, held_out=held_out, progress=progress)
    best, *taken_away = ablation(DOCS / "results" / "search.jsonl")
    runs = run_all(folder, domain, [*METHODS, best], seeds, progress)
    contrasts = [(best.name, other) for other in ("sft on edits", "mdpo, crops")]
    if domain == "phantom":
        runs |= run_all(folder, domain, taken_away, min(seeds, ABLATION_SEEDS), progress)
    made = {"command": f"python benchmarks/results.py --domain {domain}", "training images": images}
    made |= {"test images": held_out, "seeds": seeds}
    if domain == "phantom":
        made["seeds in the ablation"] = min(seeds, ABLATION_SEEDS)
    save(DOCS / "results" / f"{domain}.json", keep(runs, made, contrasts))


if __name__ == "__main__":
    main()
