"""How soon a command is at work.

First: CPU seconds until ``medpo --help`` has answered, beside the bare interpreter and the imports it avoids. Then: CPU
seconds that each stage takes for one record, beside an interpreter that only imports the modules which that run had
loaded at its end. What is above 1 is medpo's own start: settings, lexicon, tables, and the record itself.

Run: ``python benchmarks/start.py [--repeats 5]``; medians over interleaved child processes.
"""

import argparse
import json
import resource
import statistics
import subprocess
import sys
import tempfile
import threading
from http.server import ThreadingHTTPServer
from pathlib import Path

import many_records

MEDPO = str(Path(sys.executable).parent / "medpo")
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "medpo --help": [MEDPO, "--help"],
    "medpo align --help": [MEDPO, "align", "--help"],
    "import torch, transformers, peft": [
        sys.executable,
        "-c",
        "import torch, peft; from transformers import AutoModelForImageTextToText",
    ],
}
# What a run has loaded when it ends, written for the second interpreter.
SPY = """
import atexit, json, sys
atexit.register(lambda: open("modules.json", "w").write(json.dumps(list(sys.modules))))
from medpo_cli.cli.main import main
main()
"""
IMPORTS = """
import contextlib, importlib, json
for name in json.load(open("modules.json")):
    with contextlib.suppress(Exception):
        importlib.import_module(name)
"""


def cpu_seconds(command: list[str], folder: Path | None = None) -> float:
    """User and system time of one child."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


def medians(commands: dict[str, list[str]], repeats: int, folder: Path | None = None) -> dict[str, float]:
    """Median CPU seconds of each command; the first round is not counted."""
    rounds = [{name: cpu_seconds(command, folder) for name, command in commands.items()} for _ in range(repeats + 1)]
    return {name: statistics.median(one[name] for one in rounds[1:]) for name in commands}


def stages(folder: Path, repeats: int) -> None:
    """Print one line for each stage that runs without a model."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), many_records.Parrot)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    many_records.pictures(folder)
    for name, _, arguments in many_records.stages(folder, 1, f"http://127.0.0.1:{server.server_port}/v1"):
        if "--resume" in arguments:
            continue
        subprocess.run([sys.executable, "-c", SPY, *arguments], check=True, cwd=folder, capture_output=True)
        again = arguments if "-o" not in arguments else [*arguments, "--force"]
        both = {"run": [MEDPO, *again], "imports": [sys.executable, "-c", IMPORTS]}
        median = medians(both, repeats, folder)
        modules = len(json.loads((folder / "modules.json").read_text()))
        ratio = median["run"] / median["imports"]
        print(f"{name:<34}{median['run']:7.3f} CPU s  {ratio:6.2f} x importing {modules} modules")


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    median = medians(COMMANDS, repeats)
    for name, seconds in median.items():
        print(f"{name:<34}{seconds:7.3f} CPU s  {seconds / median['medpo --help']:6.1f} x medpo --help")
    with tempfile.TemporaryDirectory() as folder:
        stages(Path(folder), repeats)


if __name__ == "__main__":
    main()
