"""The sample stage: order, laziness, seeds, bad records, a server in place of a model."""

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
import torch
from PIL import Image

from medpo_cli.errors import ConfigError, RecordError, TryLaterError, UnavailableError
from medpo_cli.io.context import Context
from medpo_cli.models import generate, tiny
from medpo_cli.schema.config import SampleConfig
from medpo_cli.schema.records import Case, ImageRef, Sample
from medpo_cli.stages import sample


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built, processor = tiny.build_llava()
    for parameter in built.parameters():
        parameter.data.mul_(3.0)
    return tiny.save(tmp_path_factory.mktemp("model") / "tiny-llava", built, processor)


@pytest.fixture
def cases(tmp_path: Path) -> list[Case]:
    """Three images, two questions each."""
    draw = np.random.default_rng(0)
    for number in range(3):
        Image.fromarray(draw.integers(0, 255, (32, 40), dtype=np.uint8)).save(tmp_path / f"{number}.png")
    return [
        Case(
            id=f"c{number}-{kind}",
            image=ImageRef(path=f"{number}.png"),
            prompt=prompt,
            task="vqa-closed",
            group=f"g{number}",
            ext={"kept": [number]},
        )
        for number in range(3)
        for kind, prompt in (("a", "Is there a nodule?"), ("b", "Describe the findings on this chest image."))
    ]


def settings(model: Path | str = "", **more: Any) -> SampleConfig:
    return SampleConfig(model=str(model), **({"max_tokens": 8} | more))


def collect(cases: list[Case], config: SampleConfig, root: Path) -> tuple[list[Sample], list[tuple[str | None, str]]]:
    rejected: list[tuple[str | None, str]] = []
    context = Context(root, reject=lambda name, error: rejected.append((name, error.reason)))
    return list(sample.run(cases, config, context)), rejected


def test_everything_of_the_case_is_kept_in_order(model: Path, cases: list[Case], tmp_path: Path) -> None:
    samples, rejected = collect(cases, settings(model, batch=4), tmp_path)
    assert rejected == []
    for case, made in zip(cases, samples, strict=True):
        assert all(getattr(made, name) == getattr(case, name) for name in Case.__struct_fields__)
        assert (made.policy.model, len(made.policy.digest), made.policy.adapter) == ("tiny-llava", 64, None)
        assert made.policy.decoding.max_tokens == 8
        assert made.responses[0].logprob < 0


@pytest.mark.parametrize("more", [{}, {"temperature": 1.0, "n": 2, "seed": 3}], ids=["greedy", "drawn"])
def test_neither_batch_nor_neighbours_change_a_record(
    model: Path, cases: list[Case], tmp_path: Path, more: dict[str, Any]
) -> None:
    together, _ = collect(cases, settings(model, batch=16, **more), tmp_path)
    alone, _ = collect(cases[::-1], settings(model, batch=1, **more), tmp_path)
    texts = [[answer.text for answer in made.responses] for made in together]
    assert texts == [[answer.text for answer in made.responses] for made in alone[::-1]]


def test_same_input_same_bytes(model: Path, cases: list[Case], tmp_path: Path) -> None:
    config = settings(model, temperature=0.8, n=2)
    first, second = (msgspec.json.encode(collect(cases, config, tmp_path)[0]) for _ in range(2))
    assert first == second


def test_run_seed_and_record_id_both_count(model: Path, cases: list[Case], tmp_path: Path) -> None:
    same = [cases[0], msgspec.structs.replace(cases[0], id="other")]
    drawn = {"temperature": 1.0}
    zero, one = (collect(same, settings(model, seed=seed, **drawn), tmp_path)[0] for seed in (0, 1))
    assert len({made.responses[0].text for made in [*zero, *one]}) == 4


def test_no_model_is_loaded_before_the_first_record(cases: list[Case], tmp_path: Path) -> None:
    nowhere = settings(tmp_path / "nowhere")
    assert list(sample.run([], nowhere, Context(tmp_path))) == []
    with pytest.raises(UnavailableError, match="not found"):
        next(sample.run(cases, nowhere, Context(tmp_path)))


def test_reads_no_further_than_one_batch_ahead(model: Path, cases: list[Case], tmp_path: Path) -> None:
    """4 answers a batch, 2 a record: two records are read for the first output."""
    read: list[str] = []

    def arriving() -> Iterator[Case]:
        for case in cases:
            read.append(case.id)
            yield case

    config = settings(model, batch=4, n=2, temperature=1.0)
    next(sample.run(arriving(), config, Context(tmp_path)))
    assert read == ["c0-a", "c0-b"]


def test_bad_records_cost_only_themselves(model: Path, cases: list[Case], tmp_path: Path) -> None:
    replace = msgspec.structs.replace
    (tmp_path / "text.png").write_text("no picture")
    cases[1] = replace(cases[1], image=ImageRef(path="missing.png"))
    cases[2] = replace(cases[2], prompt="<image> what?")
    cases[3] = replace(cases[3], image=ImageRef(path="0.png", sha256="0" * 64))
    cases[4] = replace(cases[4], image=[ImageRef(path="0.png"), ImageRef(path="../x.png")])
    samples, rejected = collect(cases, settings(model, batch=2), tmp_path)
    assert [made.id for made in samples] == ["c0-a", "c2-b"]
    assert dict(rejected) == {
        "c0-b": "file-not-found",
        "c1-a": "prompt-control-token",
        "c1-b": "sha256-mismatch",
        "c2-a": "path-escape",
    }


def test_path_of_a_bad_image_in_a_list(model: Path, cases: list[Case], tmp_path: Path) -> None:
    several = msgspec.structs.replace(cases[0], image=[ImageRef(path="0.png"), ImageRef(path="none.png")])
    with pytest.raises(RecordError) as caught:
        next(sample.run([several], settings(model), Context(tmp_path)))
    assert caught.value.path == "$.image[1].path"


def test_two_images_in_one_prompt(model: Path, cases: list[Case], tmp_path: Path) -> None:
    both = msgspec.structs.replace(cases[0], image=[ImageRef(path="0.png"), ImageRef(path="1.png")])
    samples, _ = collect([cases[0], both], settings(model), tmp_path)
    assert samples[0].responses[0].text != samples[1].responses[0].text


def test_settings_that_contradict_each_other(cases: list[Case], tmp_path: Path) -> None:
    for config in (settings("x", n=2), settings(endpoint="http://127.0.0.1:1", adapter="a")):
        with pytest.raises(ConfigError):
            next(sample.run(cases, config, Context(tmp_path)))


def test_time_limit_stops_between_batches(model: Path, cases: list[Case], tmp_path: Path) -> None:
    context = Context(tmp_path)
    running = sample.run(cases, settings(model, batch=1), context)
    assert next(running).id == "c0-a"
    context.deadline = 0.0
    with pytest.raises(TryLaterError):
        next(running)


def test_full_gpu_memory_means_later(
    model: Path, cases: list[Case], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_a: object, **_k: object) -> None:
        raise torch.cuda.OutOfMemoryError("out of memory")

    monkeypatch.setattr(generate, "generate", fail)
    with pytest.raises(TryLaterError, match="lower --batch"):
        next(sample.run(cases, settings(model), Context(tmp_path)))


@pytest.fixture
def server() -> Iterator[str]:
    """Says how long the question is; refuses questions that begin with Is."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            text = body["messages"][0]["content"][-1]["text"]
            reply = json.dumps({"choices": [{"message": {"content": f"{len(text)} characters"}}]}).encode()
            self.send_response(400 if text.startswith("Is") else 200)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *_: object) -> None:
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=running.serve_forever, args=(0.02,), daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}/v1"
    running.shutdown()
    running.server_close()


def test_server_answers_in_order_and_bad_ones_are_rejected(server: str, cases: list[Case], tmp_path: Path) -> None:
    config = settings(endpoint=server, endpoint_model="m", batch=3)
    samples, rejected = collect(cases, config, tmp_path)
    assert [made.id for made in samples] == ["c0-b", "c1-b", "c2-b"]
    assert {made.responses[0].text for made in samples} == {"42 characters"}
    assert rejected == [(f"c{number}-a", "endpoint-refused") for number in range(3)]
    assert (samples[0].policy.model, samples[0].policy.digest) == ("m", "endpoint:unknown")
