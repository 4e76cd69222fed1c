"""CPU seconds until `medpo --help` has answered, beside the bare interpreter and the imports it avoids.

Run: ``python benchmarks/start.py [--repeats 5]``; medians over interleaved child processes.
"""

import argparse
import os
import statistics
import subprocess
import sys
from pathlib import Path

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


def cpu_seconds(command: list[str]) -> float:
    """User and system time of one child."""
    before = os.times()
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    rounds = [{name: cpu_seconds(command) for name, command in COMMANDS.items()} for _ in range(repeats + 1)]
    median = {name: statistics.median(one[name] for one in rounds[1:]) for name in COMMANDS}
    for name, seconds in median.items():
        print(f"{name:<34}{seconds:7.3f} CPU s  {seconds / median['medpo --help']:6.1f} x medpo --help")


if __name__ == "__main__":
    main()
