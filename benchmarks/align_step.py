"""Cost of one alignment step: medpo, the naive eight-pass form, TRL, ms-swift, LLaMA-Factory.

    python benchmarks/align_step.py [--models llava-40m qwen3-vl-40m] [--kinds vqa report] [--batch 4]
        [--variants ...] [--repeats 2] [--peers DIR] [--work DIR] [--json FILE]
    python benchmarks/align_step.py --models llava-b --kinds vqa --batch 2 --peers DIR
    python benchmarks/align_step.py --device cuda --models qwen3-vl-4b-random --kinds vqa --batch 8 [--quantize nf4]

Every measurement is a whole process on one core with one thread: the tool runs n1 and then n2 optimizer steps
and (cpu2 - cpu1) / (n2 - n1) is the cost of a step, whatever loading costs. Tools take turns within each
repetition. CPU seconds (user and system) and peak memory come from wait4; memory above the resting process from
the child itself, which sets its high-water mark back before the first step. On a GPU the child's own clock and
the allocator's peak count instead.

The naive form does what the published implementation does (runners/naive.py). Each peer runs its own command in
its own environment, --peers DIR/{trl,ms-swift,llamafactory} (or MEDPO_PEERS); one that is absent is left out.
Lengths: vqa 15 answer tokens with 3 masked, report 120 with four spans of 3. Where a line has another batch
than the first, compare the column "per pair".
"""

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

from runners import peer_llamafactory, peer_msswift, peer_trl
from workload.cases import VARIANTS, Variant, Workspace
from workload.process import ChildError, Usage, own, run
from workload.report import table

COMMANDS = {
    "trl": peer_trl.command,
    "ms-swift": peer_msswift.command,
    "llamafactory": peer_llamafactory.command,
}
RANKS = {"llava-b": 16, "qwen3-vl-4b-random": 128, "qwen3-vl-tiny": 4, "llava-tiny": 4}
DEFAULT_RANK = 24


def main() -> None:
    """Measure, print the table, write the numbers."""
    options = arguments()
    if options.device == "cpu":
        os.sched_setaffinity(0, {options.core})
    with tempfile.TemporaryDirectory(prefix="medpo-bench-") as temporary:
        space = Workspace(options.work or Path(temporary), options.device)
        chosen = [name for name in options.variants if present(name, options.peers)]
        rows = [row(model, kind, name) for model in options.models for kind in options.kinds for name in chosen]
        for repeat in range(options.repeats):
            for one in rows:
                print(f"{repeat + 1}/{options.repeats} {one['model']} {one['kind']} {one['title']}", file=sys.stderr)
                measure(one, options, space)
                keep(options.json, rows, [])
        print(table(rows, options.device))
        checks = [] if options.device == "cuda" else [exactness(model, options, space) for model in options.models]
    for check in checks:
        print("\n{model}: loss within {loss:.1e}, gradients within {gradient:.1e} (relative), float64".format(**check))
    keep(options.json, rows, checks)


def keep(path: Path | None, rows: list[dict[str, Any]], checks: list[dict[str, Any]]) -> None:
    """Write what there is so far."""
    if path:
        facts = {"machine": platform.processor() or platform.machine(), "argv": sys.argv[1:]}
        path.write_text(json.dumps({**facts, "rows": rows, "exactness": checks}, indent=1))


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--models", nargs="+", default=["llava-40m", "qwen3-vl-40m"])
    parser.add_argument("--kinds", nargs="+", choices=["vqa", "report"], default=["vqa", "report"])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--steps", type=int, nargs=2, default=[2, 6], help="n1 and n2; the naive form: 1 and 2")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--quantize", choices=["none", "nf4"], default="none", help="of medpo's model")
    parser.add_argument("--peers", type=Path, default=Path(os.environ.get("MEDPO_PEERS", "peers")))
    parser.add_argument("--work", type=Path, default=None, help="keep models and data here")
    parser.add_argument("--core", type=int, default=0)
    parser.add_argument("--json", type=Path, default=None)
    return parser.parse_args()


def present(name: str, folder: Path) -> bool:
    """Whether the variant can run; says so once where it cannot."""
    tool = VARIANTS[name].tool
    if tool not in COMMANDS or (folder / tool / "bin" / "python").exists():
        return True
    print(f"{name}: no environment at {folder / tool}, left out (see benchmarks/README.md)", file=sys.stderr)
    return False


def row(model: str, kind: str, name: str) -> dict[str, Any]:
    """An empty line of the result."""
    lists = {key: [] for key in ("steps", "start", "peak", "above", "losses", "norms")}
    return {"model": model, "kind": kind, "variant": name, "title": VARIANTS[name].title, "failed": "", **lists}


def measure(one: dict[str, Any], options: argparse.Namespace, space: Workspace) -> None:
    """One repetition, added to the line."""
    variant = VARIANTS[one["variant"]]
    one["batch"] = variant.batch or options.batch
    few, many = (1, 2) if variant.tool == "naive" and options.device == "cpu" else options.steps
    try:
        job = make_job(one, variant, options, space)
        if options.device == "cuda":
            _, found = start(job | {"steps": many}, variant, options, space)
            one["steps"].append(statistics.median(found["seconds"][1:]))
            one["start"].append(0.0)
            one["peak"].append(found["peak_bytes"])
        else:
            first, _ = start(job | {"steps": few}, variant, options, space)
            last, found = start(job | {"steps": many}, variant, options, space)
            step = (last.cpu - first.cpu) / (many - few)
            one["steps"].append(step)
            one["start"].append(first.cpu - few * step)
            one["peak"].append(last.peak)
    except ChildError as error:
        one["failed"] = str(error)
        return
    if found:
        one["above"].append(found["peak_bytes"] - found["rest_bytes"])
        one["losses"], one["norms"] = found["losses"], found["norms"]


def make_job(one: dict[str, Any], variant: Variant, options: argparse.Namespace, space: Workspace) -> dict[str, Any]:
    """What a child is told; writes model and data first."""
    model = space.model(one["model"])
    shape = (2 * one["batch"], variant.questions, variant.share_corrupted)
    return {
        "model": str(model), "pairs": str(space.data(one["model"], model, one["kind"], *shape)),
        "batch": one["batch"], "rank": RANKS.get(one["model"], DEFAULT_RANK), "device": options.device,
        "dtype": "float32" if options.device == "cpu" else "bfloat16", "quantize": options.quantize, **variant.options,
    }  # fmt: skip


def start(
    job: dict[str, Any], variant: Variant, options: argparse.Namespace, space: Workspace
) -> tuple[Usage, dict[str, Any]]:
    """Run one child; what it used and, where it is our own, what it wrote."""
    scratch = space.scratch(variant.tool)
    log = scratch / "log"
    if variant.tool in COMMANDS:
        argv = COMMANDS[variant.tool](job, (options.peers / variant.tool).absolute(), scratch)
        return run(argv, log=log, cwd=scratch), {}
    result = scratch / "result.json"
    usage = own(f"runners/{variant.tool}.py", job | {"result": str(result)}, log=log)
    return usage, json.loads(result.read_text())


def exactness(model: str, options: argparse.Namespace, space: Workspace) -> dict[str, Any]:
    """Loss and gradients of one step of two pairs, naive against medpo, in float64."""
    one = row(model, options.kinds[0], "medpo") | {"batch": 2}
    job = make_job(one, VARIANTS["medpo"], options, space) | {"dtype": "float64", "checkpointing": False}
    scratch = space.scratch("exactness")
    own("runners/exactness.py", job | {"result": str(scratch / "result.json")}, log=scratch / "log")
    return {"model": model, **json.loads((scratch / "result.json").read_text())}


if __name__ == "__main__":
    main()
