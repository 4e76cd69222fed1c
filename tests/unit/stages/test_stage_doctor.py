"""What ``medpo doctor`` finds without importing torch."""

import json
import shutil
from pathlib import Path

import pytest

from medpo_cli.errors import ExitCode
from medpo_cli.schema.config import SampleConfig
from medpo_cli.schema.diagnosis import Diagnosis, error, ok, warning
from medpo_cli.stages import doctor
from medpo_cli.stages.doctor import machine, model_files, packages

ASKED = ["torch>=2.10", "typer<0.30,>=0.29", 'imagecodecs>=2025.8.2; extra == "codecs"']


def states(found: list[Diagnosis]) -> list[tuple[str, str]]:
    return [(one.subject, one.state) for one in found]


def versions(**found: str) -> packages.Version:
    return lambda name: found.get(name)


def test_packages_that_fit() -> None:
    found = list(packages.look(ASKED, versions(torch="2.13.0+cpu", typer="0.29.2", imagecodecs="2026.1.1")))
    assert states(found) == [("required", "ok"), ("codecs", "ok")]
    assert "torch 2.13.0+cpu" in found[0].text


@pytest.mark.parametrize(
    ("there", "subject", "text"),
    [
        ({"torch": "2.13.0"}, "typer", "missing"),
        ({"torch": "2.9.1", "typer": "0.29.0"}, "torch", "2.9.1 is installed, torch>=2.10 is needed"),
        ({"torch": "2.10.0", "typer": "0.30.0"}, "typer", "0.30.0 is installed"),
    ],
)
def test_packages_that_are_missing_or_of_another_version(there: dict[str, str], subject: str, text: str) -> None:
    found = [one for one in packages.look(ASKED, versions(**there)) if one.state == "error"]
    assert [one.subject for one in found] == [subject]
    assert text in found[0].text
    assert found[0].cure.startswith(f"pip install '{subject}")
    assert found[0].code == ExitCode.UNAVAILABLE


def test_an_extra_that_is_missing_is_a_note() -> None:
    (one,) = [x for x in packages.look(ASKED, versions(torch="2.11", typer="0.29.1")) if x.subject == "codecs"]
    assert (one.state, one.cure) == ("note", "pip install 'medpo[codecs]'")


def test_a_torch_without_cuda_beside_a_gpu_is_a_warning() -> None:
    there = versions(torch="2.11.0+cpu", typer="0.29.1")
    assert ("torch", "warning") in states(list(packages.look(ASKED, there, gpu=True)))
    assert ("torch", "warning") not in states(list(packages.look(ASKED, there)))


def test_a_bare_checkout_is_said() -> None:
    assert states(list(packages.look(None))) == [("medpo", "warning")]


MEMINFO = "MemTotal:       {} kB\nMemFree:  1 kB\nMemAvailable:   {} kB\nHugePages_Total: 0\n"


@pytest.mark.parametrize(
    ("limit", "state", "text"),
    [
        (None, "ok", "20.0 of 32.0 GiB free"),
        ("max", "ok", "20.0 of 32.0 GiB free"),
        (8 << 30, "ok", "7.0 of 8.0 GiB free"),
        (3 << 30, "warning", "2.0 of 3.0 GiB free"),
        (99 << 30, "ok", "20.0 of 32.0 GiB free"),
    ],
)
def test_memory_is_that_of_the_container(tmp_path: Path, limit: object, state: str, text: str) -> None:
    (tmp_path / "meminfo").write_text(MEMINFO.format(32 << 20, 20 << 20))
    if limit is not None:
        (tmp_path / "memory.max").write_text(f"{limit}\n")
        (tmp_path / "memory.current").write_text(f"{1 << 30}\n")
    found = machine.memory(tmp_path / "meminfo", tmp_path)
    assert (found.state, found.text) == (state, text)


def test_memory_that_nobody_tells(tmp_path: Path) -> None:
    assert machine.memory(tmp_path / "none", tmp_path).state == "note"


def smi(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    program = folder / "nvidia-smi"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_gpus_are_those_of_nvidia_smi(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = "echo 'NVIDIA H100 80GB HBM3, 81559, 81000, 570.1'; echo 'NVIDIA H100 80GB HBM3, 81559, 300, 570.1'"
    smi(tmp_path, rows, monkeypatch)
    found = list(machine.gpus({}))
    assert states(found) == [("gpu 0", "ok"), ("gpu 1", "warning")]
    assert "79.1 of 79.6 GiB free" in found[0].text
    assert states(list(machine.gpus({"CUDA_VISIBLE_DEVICES": ""})))[0] == ("gpu", "warning")


@pytest.mark.parametrize("script", ["exit 9", "echo 'No devices were found'", "echo 'A, [N/A], [N/A], 1'", "true"])
def test_an_nvidia_smi_that_fails_is_no_gpu(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    smi(tmp_path, script, monkeypatch)
    monkeypatch.setattr(machine, "DRIVER", tmp_path / "none")
    assert states(list(machine.gpus({}))) == [("gpu", "note")]
    monkeypatch.setattr(machine, "DRIVER", tmp_path)
    assert states(list(machine.gpus({}))) == [("gpu", "warning")]


def test_switches_that_let_libraries_reach_the_network() -> None:
    on = dict.fromkeys(machine.OFFLINE, "1")
    assert machine.offline(on).state == "ok"
    found = machine.offline(on | {"HF_HUB_OFFLINE": "0"})
    assert (found.state, found.cure) == ("warning", "export HF_HUB_OFFLINE=1")


def test_more_threads_than_cores() -> None:
    assert machine.processors({"OMP_NUM_THREADS": "4096"}).state == "warning"
    assert machine.processors({"OMP_NUM_THREADS": "1"}).state == "ok"


def test_a_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine.os, "access", lambda place, _mode: place != tmp_path)
    first, *_ = machine.disks(tmp_path)
    assert (first.subject, first.state, first.code) == ("folder", "error", ExitCode.CANNOT_CREATE)


def test_a_full_disk_is_a_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "LOW_DISK", 1 << 62)
    assert [one.state for one in machine.disks(tmp_path)] == ["warning", "warning"]


@pytest.fixture
def model(tmp_path: Path, demo_model: Path) -> Path:
    return Path(shutil.copytree(demo_model, tmp_path / "model"))


def test_a_whole_model_folder(model: Path) -> None:
    (found,) = model_files.look(model)
    assert (found.state, found.text.partition(",")[0]) == ("ok", "model: llava")


@pytest.mark.parametrize(
    ("gone", "subject"),
    [
        ("config.json", "folder"), ("model.safetensors", "folder"), ("processor_config.json", "processor"),
        ("tokenizer.json", "tokenizer"), ("chat_template.jinja", "template"),
    ],
)  # fmt: skip
def test_each_missing_file_is_an_error_with_a_cure(model: Path, gone: str, subject: str) -> None:
    (model / gone).unlink()
    for name in ("tokenizer_config.json", "processor_config.json"):
        if (model / name).exists():
            settings = json.loads((model / name).read_text())
            settings.pop("chat_template", None)
            (model / name).write_text(json.dumps(settings))
    found = [one for one in model_files.look(model) if one.state == "error"]
    assert [one.subject for one in found] == [subject]
    assert found[0].cure


def test_a_template_inside_the_tokenizer_settings_is_one(model: Path) -> None:
    (model / "chat_template.jinja").unlink()
    settings = json.loads((model / "tokenizer_config.json").read_text())
    (model / "tokenizer_config.json").write_text(json.dumps(settings | {"chat_template": "{{ messages }}"}))
    assert all(one.state == "ok" for one in model_files.look(model))


def test_code_and_pickles_in_the_folder_are_said(model: Path) -> None:
    (model / "modeling.py").write_text("")
    (model / "old.bin").write_text("")
    assert states(list(model_files.look(model)))[1:] == [("code", "note"), ("pickles", "note")]
    assert ("code", "warning") in states(list(model_files.look(model, trust_remote_code=True)))


def test_weights_that_are_cut_off(model: Path) -> None:
    with (model / "model.safetensors").open("r+b") as file:
        file.truncate(1000)
    (found,) = model_files.look(model)
    assert (found.state, found.code) == ("error", ExitCode.UNAVAILABLE)


def test_an_adapter_folder(tmp_path: Path) -> None:
    assert [one.state for one in model_files.look_adapter(tmp_path)] == ["error"]
    (tmp_path / "adapter_config.json").write_text('{"peft_type": "LORA", "r": 8}')
    header = json.dumps({"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    whole = len(header).to_bytes(8, "little") + header + bytes(4)
    (tmp_path / "adapter_model.safetensors").write_bytes(whole)
    (found,) = model_files.look_adapter(tmp_path)
    assert (found.state, found.text.partition(": ")[2]) == ("ok", "LORA, rank 8")


def test_the_exit_code_is_that_of_the_first_error() -> None:
    fine, odd = ok("a", "b", "c"), warning("a", "b", "c", "d")
    broken = [error("a", "b", "c", "d", ExitCode.CONFIG), error("a", "b", "c", "d")]
    assert doctor.exit_code([fine, odd]) == ExitCode.DONE
    assert doctor.exit_code([fine, odd, *broken]) == ExitCode.CONFIG


def test_all_of_it_on_this_machine(tmp_path: Path) -> None:
    found = list(doctor.shallow(SampleConfig(adapter=str(tmp_path / "none")), tmp_path))
    assert {one.area for one in found} == {"machine", "packages", "model"}
    assert [one.subject for one in found if one.state == "error"] == ["adapter"]
    assert all(one.cure for one in found if one.state != "ok")
