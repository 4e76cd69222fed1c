"""``--editor http`` and ``sample --endpoint`` against a real server: ``transformers serve`` with the demo model.

Needs fastapi and uvicorn (``pip install 'transformers[serving]'``); run with ``-m slow``.
"""

import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from medpo_cli.demo import MODEL
from medpo_cli.io.context import Context
from medpo_cli.schema.config import EditConfig, SampleConfig
from medpo_cli.schema.records import Case, ImageRef, Pair, Policy, Response, Sample
from medpo_cli.stages import edit
from medpo_cli.stages import sample as sampling

pytestmark = pytest.mark.slow
TRUTH = "There is a small left pleural effusion. No pneumothorax."
SERVE = "import sys; sys.argv[0] = 'transformers'; from transformers.cli.transformers import main; main()"


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    pytest.importorskip("fastapi")
    pytest.importorskip("uvicorn")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", SERVE, "serve", str(MODEL), "--host", "127.0.0.1", "--port", str(port)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([*command, "--device", "cpu"], env=environment, stderr=subprocess.DEVNULL)
    try:
        yield _ready(process, f"http://127.0.0.1:{port}")
    finally:
        process.terminate()
        process.wait(20)


def _ready(process: "subprocess.Popen[bytes]", url: str) -> str:
    for _ in range(240):
        assert process.poll() is None, "the server ended"
        try:
            with urllib.request.urlopen(f"{url}/health", timeout=2) as reply:
                if reply.status == 200:
                    return f"{url}/v1"
        except (urllib.error.URLError, OSError):
            time.sleep(0.5)
    raise AssertionError("the server did not answer in two minutes")


def test_edit_asks_the_server_and_the_rules_stand_by(server: str) -> None:
    samples = [
        Sample(
            id=str(number), image=ImageRef(path="x.png"), prompt="Describe.", reference=TRUTH, task="report",
            policy=Policy(model="m", digest="0" * 64), responses=[Response(text=answer)],
        )
        for number, answer in enumerate([TRUTH.replace("left", "right"), TRUTH])
    ]  # fmt: skip
    config = EditConfig(editor="http", endpoint=server, endpoint_model=str(MODEL), balance=False)
    made = list(edit.run(samples, config, Context()))
    assert [pair.chosen for pair in made if isinstance(pair, Pair)] == [TRUTH, TRUTH]


def test_sample_gets_the_answer_that_the_folder_gives(server: str, tmp_path: Path) -> None:
    grey = np.random.default_rng(0).integers(0, 255, (96, 96), dtype=np.uint8)
    Image.fromarray(grey).save(tmp_path / "x.png")
    case = Case(
        id="a", image=ImageRef(path="x.png"), prompt="Describe the findings on this chest image.", task="report"
    )
    answers = []
    for config in (
        SampleConfig(endpoint=server, endpoint_model=str(MODEL), max_tokens=64),
        SampleConfig(model=str(MODEL), max_tokens=64),
    ):
        (found,) = sampling.run([case], config, Context(tmp_path))
        answers.append(found.responses[0].text)
    assert answers[0] == answers[1]
