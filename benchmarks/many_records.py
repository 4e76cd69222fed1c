"""Is memory flat? CPU seconds and peak memory of the stages without a model over few and over many records.

Run: ``python benchmarks/many_records.py [records]`` (100,000 unless told otherwise); each stage reads N/100 and N
records, from file to file. ``sample`` asks a server on this machine that always answers the same, so what is
measured is the stage and not a model; as each of its records waits for a reply, it gets a tenth of the records.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from PIL import Image
from workload import process

MEDPO = str(Path(sys.executable).parent / "medpo")
PICTURES, SIDE = 10, 64
TRUTH = "The heart is enlarged. There is a small nodule in the left upper zone."
SAID = "The heart is enlarged. There is a small nodule in the right upper zone."


class Parrot(BaseHTTPRequestHandler):
    """Gives every question the same answer."""

    protocol_version = "HTTP/1.1"
    reply = json.dumps(
        {"choices": [{"message": {"content": SAID}, "finish_reason": "stop"}], "usage": {"completion_tokens": 16}}
    ).encode()

    def do_POST(self) -> None:
        """Read the question, answer."""
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.reply)))
        self.end_headers()
        self.wfile.write(self.reply)

    def log_message(self, *_: object) -> None:
        """Nothing."""


def pictures(folder: Path) -> None:
    """Ten gray pictures with a mask each; few, so that images and corruptions are shared as in a real set."""
    for number in range(PICTURES):
        Image.effect_noise((SIDE, SIDE), 20).save(folder / f"{number}.png")
        mask = Image.new("L", (SIDE, SIDE))
        mask.paste(255, (10 + number, 20, 22 + number, 30))
        mask.save(folder / f"{number}-mask.png")


def case(number: int) -> dict[str, Any]:
    """A report's question with one region."""
    picture = number % PICTURES
    return {
        "schema": "medpo.case/1",
        "id": f"study-{number:08d}",
        "image": {"path": f"{picture}.png"},
        "prompt": "Describe the findings on this chest image.",
        "task": "report",
        "reference": TRUTH,
        "regions": [{"label": "nodule", "mask": {"path": f"{picture}-mask.png"}}],
    }


def sample(number: int) -> dict[str, Any]:
    """The same with an answer on the wrong side."""
    more = {"policy": {"model": "m", "digest": "0" * 64}, "responses": [{"text": SAID}]}
    return case(number) | {"schema": "medpo.sample/1"} | more


def write(path: Path, records: Iterator[dict[str, Any]]) -> None:
    """One record after the other: the peak of a child is never below that of this process."""
    count = 0
    with path.open("w") as file:
        for record in records:
            file.write(json.dumps(record) + "\n")
            count += 1
        file.write(json.dumps(end_of(count)) + "\n")


def end_of(count: int) -> dict[str, Any]:
    """What shows that nothing was cut off."""
    return {"schema": "medpo.end/1", "stage": "sample", "run": "bench", "records": count, "rejected": 0}


def stages(folder: Path, records: int, url: str) -> Iterator[tuple[str, int, list[str]]]:
    """Name, records and command line of each run; later ones read what earlier ones wrote."""

    def of(name: str) -> str:
        return str(folder / f"{records}.{name}.jsonl")

    few = max(1, records // 10)
    write(Path(of("few")), map(case, range(few)))
    write(Path(of("cases")), map(case, range(records)))
    write(Path(of("samples")), map(sample, range(records)))
    yield "sample", few, ["sample", of("few"), "--endpoint", url, "--endpoint-model", "m", "-o", of("answers")]
    yield "edit", records, ["edit", of("samples"), "-o", of("pairs")]
    cut_off(Path(of("pairs")), Path(of("resumed") + ".part"))
    yield "edit --resume", records, ["edit", of("samples"), "-o", of("resumed"), "--resume"]
    yield "corrupt", records, ["corrupt", of("pairs"), "-o", of("pairs.v")]
    cut_off(Path(of("pairs.v")), Path(of("resumed.v") + ".part"))
    yield "corrupt --resume", records, ["corrupt", of("pairs"), "-o", of("resumed.v"), "--resume"]
    yield "check", records, ["check", of("pairs.v")]
    yield "check --pairs", records, ["check", "--pairs", of("pairs.v")]
    head(Path(of("pairs.v")), Path(of("some")), few)
    with open(of("some"), "a") as file:
        file.write(json.dumps(end_of(few)) + "\n")
    yield "check --images", few, ["check", "--images", of("some")]


def cut_off(whole: Path, part: Path) -> None:
    """What a run killed shortly before its end leaves behind."""
    head(whole, part, -5)
    manifest = Path(f"{whole}.run.json").read_bytes()
    Path(f"{part}".removesuffix(".part") + ".run.json").write_bytes(manifest)


def head(source: Path, target: Path, lines: int) -> None:
    """The first lines of a file (all but the last, if negative), without holding it in memory."""
    with source.open("rb") as before, target.open("wb") as after:
        subprocess.run(["head", "-n", str(lines)], stdin=before, stdout=after, check=True)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("records", type=int, nargs="?", default=100_000)
    most = parser.parse_args().records
    server = ThreadingHTTPServer(("127.0.0.1", 0), Parrot)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/v1"
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        pictures(folder)
        for records in (most // 100, most):
            for stage, count, arguments in stages(folder, records, url):
                used = process.run([MEDPO, *arguments], log=folder / "log", cwd=folder)
                print(f"{stage:<18}{count:>8} records{used.peak / 2**20:8.1f} MiB{count / used.cpu:8.0f} records/CPU s")


if __name__ == "__main__":
    main()
