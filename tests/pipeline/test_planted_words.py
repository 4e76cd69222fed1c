"""Contract section 6 over every command: words planted in texts, names, tags and the environment come out nowhere.

One folder is made, with sound and with broken records, and each command is run in it as a user would. Then everything
that was said and everything that was written is searched. Texts may stand where records carry texts, and only there.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from data.hospital import Hospital
from data.judges import JudgeStub, perfect
from data.stub_server import Reply, Stub, chat

from medpo_cli.demo import MODEL

PLUGIN = Path(__file__).parents[1] / "data" / "mask_plugin.py"
TEXTS = {"prompt", "reference", "chosen", "rejected", "text", "answer", "label", "group", "ext", "path"}
"""Fields of records that carry what a user wrote."""
ROWS = ("trl.jsonl", "fire.jsonl", "audit.csv", "audit.html", "with-text.html")
"""What is asked for because of its texts: rows for other tools, an audit to be read, a page --with-text."""


@dataclass
class Ward:
    """The folder and what each command did in it."""

    hospital: Hospital
    done: dict[str, "subprocess.CompletedProcess[bytes]"] = field(default_factory=dict)
    inputs: set[str] = field(default_factory=set)

    def medpo(self, *words: str, name: str = "") -> None:
        """Run a command; ``name`` stands for it where its first word does not."""
        planted = self.hospital.planted
        secrets = {"OPENAI_API_KEY": planted("environment"), "HF_TOKEN": planted("environment: token")}
        self.done[name or words[0]] = subprocess.run(
            [sys.executable, "-m", "medpo_cli.cli.main", *words],
            cwd=self.hospital.folder, env=os.environ | secrets, capture_output=True, stdin=subprocess.DEVNULL,
        )  # fmt: skip

    def records(self, name: str) -> list[dict[str, Any]]:
        """Records of a file but the last."""
        return [json.loads(line) for line in (self.hospital.folder / name).read_text().splitlines()[:-1]]

    def file(self, name: str, sound: list[dict[str, Any]], sides: tuple[str, ...] = ()) -> str:
        """An input: sound records and broken ones made from the first."""
        self.inputs.add(name)
        self.hospital.write(name, sound, self.hospital.broken(sound[0], sides))
        return name


def _answers_with_words(ward: Ward) -> list[dict[str, Any]]:
    """What the model said, with a word behind each answer, and two answers that are certainly edited."""
    samples = ward.records("samples.jsonl")
    for record in samples:
        for response in record["responses"]:
            response["text"] += f" {ward.hospital.planted('answer')}."
    report = next(record for record in samples if record["task"] == "report")
    return [*samples, report | {"id": "certain", "responses": [{"text": report["reference"]}]}]


def _stages(ward: Ward, model: str) -> None:
    """The five stages, one after another, each on sound and broken records."""
    cases = ward.file("cases.jsonl", ward.hospital.sound)
    ward.medpo("sample", cases, "-o", "samples.jsonl", "--model", model, "--log-file", "sample.log", "--max-tokens=32")
    ward.file("answers.jsonl", _answers_with_words(ward))
    ward.medpo(
        "edit", "answers.jsonl", "-o", "edited.jsonl", "--audit", "audit", "--log-json", "--log-file", "edit.log"
    )
    edited = [record for record in ward.records("edited.jsonl") if not record["id"].startswith("broken")]
    ward.file("pairs.jsonl", edited, ("chosen", "rejected"))
    tool = f"{sys.executable} {ward.hospital.above / ward.hospital.planted('folder of a program')}/find.py sound"
    ward.medpo("masks", "pairs.jsonl", "-o", "masked.jsonl", "--mask-cmd", tool, name="masks of no program")
    ward.medpo("masks", "pairs.jsonl", "-o", "m.jsonl", "--mask-cmd", f"{sys.executable} {PLUGIN} sound", "--force")
    ward.medpo("corrupt", "pairs.jsonl", "-o", "pairs.v.jsonl", "--jobs", "2")
    ward.medpo("align", "pairs.v.jsonl", "-o", "adapter", "--model", model, "--epochs", "1", "--rank", "2")
    ward.medpo(
        "eval", cases, "-o", "scores.jsonl", "--model", model, "--adapter", "adapter", "--html", "report.html",
        "--bootstrap", "100", "--max-tokens", "32",
    )  # fmt: skip


def _helpers(ward: Ward, model: str) -> None:
    """The commands beside the stages."""
    ward.medpo("eval", "answers.jsonl", "-o", "texts.jsonl", "--bootstrap", "100", name="eval of answers")
    ward.medpo("show", "pairs.v.jsonl", "-o", "show.html")
    ward.medpo("show", "pairs.v.jsonl", "-o", "with-text.html", "--with-text", name="show with text")
    ward.medpo("check", "pairs.v.jsonl", "--images", "--pairs")
    ward.medpo("check", "cases.jsonl", name="check of cases")
    ward.medpo("export", "trl", "pairs.jsonl", "-o", "trl.jsonl", "--drop-spans")
    ward.medpo("export", "fire-mpo", "pairs.jsonl", "-o", "fire.jsonl", name="export with spans")
    ward.medpo("import", "fire-mpo", "fire.jsonl", "-o", "back.jsonl", "--rejects", "back.rejects.jsonl")
    ward.medpo("doctor", "--model", model, "--adapter", "adapter")
    key = str(ward.hospital.above / "key")
    words = ("-o", "clinic.jsonl", "--rejects", "clinic.rejects.jsonl", "--key", key)
    ward.medpo("import", "dicom", str(ward.hospital.clinic), *words, name="import of DICOM")


def _joins(ward: Ward) -> None:
    """What takes several files together."""
    for part in ("1", "2"):
        words = ("--shard", f"{part}/2", "-o", f"shard{part}.jsonl")
        ward.medpo("corrupt", "pairs.jsonl", *words, name=f"corrupt a shard, {part}")
    ward.medpo("merge", "pairs.jsonl", "shard1.jsonl", "shard2.jsonl", "-o", "merged.jsonl")
    ward.medpo("edit", "answers.jsonl", "--emit", "ranking", "-o", "ranking.jsonl", name="edit into rankings")
    ward.medpo("edit", "edited.jsonl", "--apply-review", "audit.csv", "-o", "reviewed.jsonl", name="apply a review")
    ward.medpo("eval", "texts.jsonl", "--compare", "texts.jsonl", "-o", "compared.jsonl", name="compare with itself")
    (ward.hospital.folder / "gate.toml").write_text('[[bound]]\nmetric = "report.finding_accuracy"\nmin = 2.0\n')
    words = ("--gate", "gate.toml", "--bootstrap", "100", "-o", "gated.jsonl")
    ward.medpo("eval", "answers.jsonl", *words, name="fail a gate")


def _refusals(ward: Ward) -> None:
    """Runs that cannot begin, with words in what they were told to use."""
    planted, above = ward.hospital.planted, ward.hospital.above
    place = above / planted("folder named on the command line")
    place.mkdir()
    (place / "half").mkdir()
    (place / "half" / "config.json").write_text(json.dumps({"model_type": planted("configuration of a model")}))
    ward.medpo("corrupt", str(place / "none.jsonl"), name="missing input")
    ward.medpo(
        "corrupt", "cases.jsonl", "-o", str(place / "half" / "config.json" / "x.jsonl"), name="no place for output"
    )
    ward.medpo("doctor", "--model", str(place / "none"), name="missing model")
    ward.medpo("doctor", "--model", str(place / "half"), name="half a model")
    ward.medpo("sample", "cases.jsonl", "--model", str(place / "half"), name="sample with half a model")
    ward.medpo("doctor", "--adapter", str(place / "half"), name="half an adapter")
    ward.medpo("import", "dicom", str(place / "none"), name="missing clinic")
    ward.medpo("corrupt", "cases.jsonl", "-o", "x.jsonl", "--root", str(place), "--force", name="another root")
    ward.medpo("edit", "answers.jsonl", "-o", "l.jsonl", "--lexicon", str(place / "none.toml"), name="missing lexicon")


def _servers(ward: Ward) -> None:
    """Endpoints that answer with the question, in errors and in nonsense; the address bears a key."""
    planted, stub = ward.hospital.planted, Stub()
    echo = planted("words of a server").encode()
    replies: list[Reply | Callable[[], Reply]] = [
        (200, chat("No nodule is seen."), {}), (400, echo, {}), (200, b'{"choices": "' + echo + b'"}', {}),
        (200, b"<html>" + echo, {}), (200, b'{"error": "' + echo + b'"}', {}), (200, chat(""), {}),
    ]  # fmt: skip
    stub.replies = replies
    address = f"{stub.url.removesuffix('/v1')}/{planted('key in an address')}/v1"
    words = ("--endpoint", address, "--endpoint-model", "m", "--batch", "1")
    ward.file("few.jsonl", ward.hospital.sound[:6])
    ward.medpo("sample", "few.jsonl", "-o", "remote.jsonl", *words, name="sample by endpoint")
    stub.replies = [(307, b"", {"Location": f"http://198.51.100.1/{echo.decode()}"})]
    ward.medpo(
        "edit", "answers.jsonl", "-o", "remote-edit.jsonl", "--editor", "http", *words[:4], name="edit by endpoint"
    )
    stub.server.shutdown()
    stub.server.server_close()


def _judges(ward: Ward) -> None:
    """A model that judges, well and badly; what is kept of its verdicts lies in a folder."""
    echo = ward.hospital.planted("words of a judge")
    for say, name in ((perfect, "judge"), (lambda *_: f"{echo}, I would say {{", "judge that talks nonsense")):
        stub = JudgeStub(say)
        words = (
            "--judge",
            "http",
            "--endpoint",
            stub.url,
            "--endpoint-model",
            "m",
            "--cache",
            f"{name.split()[-1]}.kept",
        )
        out = ("-o", f"{name.split()[-1]}.jsonl", "--html", f"{name.split()[-1]}.html", "--bootstrap", "100")
        ward.medpo("eval", "answers.jsonl", *words, *out, name=name)
        stub.server.shutdown()
        stub.server.server_close()


CODES = {
    "sample": 3, "edit": 3, "masks": 3, "corrupt": 3, "align": 3, "eval": 3, "eval of answers": 3, "show": 3,
    "show with text": 3, "check": 3, "check of cases": 3, "export": 3, "export with spans": 3, "import": 3,
    "import of DICOM": 3, "doctor": 0, "missing input": 66, "no place for output": 73, "missing model": 69,
    "half a model": 69, "sample with half a model": 69, "half an adapter": 69, "missing clinic": 66,
    "another root": 3, "missing lexicon": 78, "corrupt a shard, 1": 3, "corrupt a shard, 2": 3, "merge": 3,
    "edit into rankings": 3, "apply a review": 0, "compare with itself": 0, "fail a gate": 3,
    "masks of no program": 69, "sample by endpoint": 3, "edit by endpoint": 69,
    "judge": 3, "judge that talks nonsense": 3,
}  # fmt: skip
"""What each command ends with."""


@pytest.fixture(scope="module")
def ward(tmp_path_factory: pytest.TempPathFactory) -> Ward:
    ward = Ward(Hospital(tmp_path_factory.mktemp("hospital")))
    parent = ward.hospital.above / ward.hospital.planted("folder of the model")
    shutil.copytree(str(MODEL), parent / "tiny")
    model = f"../{parent.name}/tiny"
    _stages(ward, model)
    _helpers(ward, model)
    _joins(ward)
    _refusals(ward)
    _servers(ward)
    _judges(ward)
    return ward


@pytest.mark.parametrize("command", CODES)
def test_a_command_says_nothing_of_what_it_read(ward: Ward, command: str) -> None:
    done = ward.done[command]
    assert done.returncode == CODES[command], done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert b"internal error" not in done.stderr
    assert ward.hospital.planted.found(done.stderr) == set(), done.stderr.decode()
    assert ward.hospital.planted.found(done.stdout) == set(), done.stdout.decode()


def test_every_command_was_looked_at(ward: Ward) -> None:
    assert set(ward.done) == set(CODES)


def test_nothing_written_tells_what_was_read(ward: Ward) -> None:
    """Logs, manifests, rejects, pages, adapters, images: everything but inputs, records and what carries texts."""
    folder = ward.hospital.folder
    records = {path.name for path in folder.glob("*.jsonl") if "rejects" not in path.name}
    given = {*ward.inputs, *ROWS, *records}
    searched = ward.hospital.planted.found_under(folder, without=tuple(folder / name for name in given | {"images"}))
    own = {name for name in searched if name.startswith("masks/")}  # a planted name of ours
    assert {name: places for name, places in searched.items() if name not in own} == {}
    assert len(own) == 1
    for name in ("samples.jsonl.run.json", "adapter/adapter_config.json", "report.html", "sample.log", "edit.log"):
        assert (folder / name).exists()


def test_copies_of_the_clinics_images_bear_no_word(ward: Ward) -> None:
    places = [record["image"]["path"] for record in ward.records("clinic.jsonl")]
    assert len(places) == 1
    for place in places:
        assert ward.hospital.planted.found((ward.hospital.folder / place).read_bytes() + place.encode()) == set()


def test_texts_stand_only_in_the_fields_for_texts(ward: Ward) -> None:
    """Whole lines are data, but a summary, an end, a metric's name or an operator's parameter is no text."""
    looked = 0
    for path in sorted(ward.hospital.folder.glob("*.jsonl")):
        if path.name in {*ward.inputs, *ROWS}:
            continue
        for line in path.read_text().splitlines():
            looked += 1
            stripped = json.dumps(_without_texts(json.loads(line)))
            assert ward.hospital.planted.found(stripped.encode()) == set(), path.name
    assert looked > 100
    assert len(ward.hospital.planted.places) > 300


def _without_texts(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_texts(inner) for key, inner in value.items() if key not in TEXTS}
    return [_without_texts(inner) for inner in value] if isinstance(value, list) else value


def test_pages_carry_no_text_unless_asked(ward: Ward) -> None:
    """The search itself works on a page that may carry texts."""
    page = (ward.hospital.folder / "with-text.html").read_bytes()
    assert {"prompt", "reference"} <= ward.hospital.planted.found(page)


SLOW = {
    "saliency": ("masks", "edited.jsonl", "--regions", "saliency", "-o", "looked.jsonl"),
    "attention": (
        "eval",
        "pairs.v.jsonl",
        "--attention",
        "--bootstrap",
        "100",
        "--html",
        "a.html",
        "-o",
        "looks.jsonl",
    ),
    "held out": ("align", "pairs.v.jsonl", "-o", "held", "--held-out", "0.3", "--held-out-every", "1", "--rank", "2"),
    "deep": ("doctor", "--deep"),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_a_command_that_takes_longer_says_nothing_either(ward: Ward, name: str) -> None:
    (parent,) = (path.parent for path in ward.hospital.above.glob("*/tiny"))
    ward.medpo(*SLOW[name], "--model", f"../{parent.name}/tiny", name=f"slow: {name}")
    done = ward.done.pop(f"slow: {name}")
    assert done.returncode == (0 if name == "deep" else 3), done.stderr.decode()
    assert b"Traceback" not in done.stderr
    assert ward.hospital.planted.found(done.stderr + (b"" if "jsonl" in SLOW[name] else done.stdout)) == set()
    test_nothing_written_tells_what_was_read(ward)
    test_texts_stand_only_in_the_fields_for_texts(ward)
