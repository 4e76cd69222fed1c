"""Loading: what is refused and with which cure, quantisation by count, digests, silence."""

import json
import os
import shutil
import struct
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from bitsandbytes.functional import dequantize_4bit
from transformers import AutoModelForCausalLM, LlamaConfig

from medpo_cli.errors import ExitCode, TryLaterError, UnavailableError
from medpo_cli.models import load, tiny
from medpo_cli.models.folder import check_safetensors, digest
from medpo_cli.models.load import load_model
from medpo_cli.models.lora import add_lora, save_adapter
from medpo_cli.models.quantize import count_4bit, outside_language_model, settle_quantized


@pytest.fixture
def copy(folders: dict[str, Path], tmp_path: Path) -> Path:
    """A LLaVA folder that a test may damage."""
    return Path(shutil.copytree(folders["llava"], tmp_path / "llava"))


def change(path: Path, **values: object) -> None:
    """Set (or with None remove) keys of a JSON file."""
    content = json.loads(path.read_text()) | values
    path.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def refusal(folder: Path, **options: str) -> str:
    with pytest.raises(UnavailableError) as caught:
        load_model(folder, **options)
    assert caught.value.code is ExitCode.UNAVAILABLE
    return str(caught.value)


def test_loaded_model_is_frozen_and_in_eval_mode(folder: Path) -> None:
    vlm = load_model(folder)
    assert not any(parameter.requires_grad for parameter in vlm.model.parameters())
    assert not vlm.model.training
    assert (vlm.name, vlm.dtype, vlm.device.type) == (folder.name, torch.float32, "cpu")
    assert vlm.adapter_digest is None
    assert vlm.forest


def test_missing_folder(tmp_path: Path) -> None:
    assert "not found: give a local folder" in refusal(tmp_path / "none")


def test_folder_without_configuration(copy: Path) -> None:
    (copy / "config.json").unlink()
    assert "no config.json" in refusal(copy)


def test_damaged_configuration(copy: Path) -> None:
    (copy / "config.json").write_text("{")
    assert "not valid JSON: download it again" in refusal(copy)


def test_unknown_kind_of_model(copy: Path) -> None:
    change(copy / "config.json", model_type="brand_new_vlm", architectures=None)
    assert "update transformers" in refusal(copy)


def test_folder_without_weights(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    assert "holds no weights" in refusal(copy)


def test_half_downloaded(copy: Path) -> None:
    """The index names two shards, one is there."""
    (copy / "model.safetensors").rename(copy / "model-00001-of-00002.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    (copy / "model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    message = refusal(copy)
    assert "half downloaded: 1 of 2 weight files are missing (first: model-00002-of-00002.safetensors)" in message


def test_index_that_names_nothing(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    (copy / "model.safetensors.index.json").write_text("{}")
    assert "names no weights" in refusal(copy)


@pytest.mark.parametrize("keep", [0, 5, 100, -1])
def test_weights_that_are_cut_off(copy: Path, keep: int) -> None:
    content = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(content[:keep])
    assert "cut off or damaged: download it again" in refusal(copy)


def test_large_file_pointer_instead_of_weights(copy: Path) -> None:
    (copy / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n")
    assert "git lfs pull" in refusal(copy)


def test_header_that_is_no_header(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(struct.pack("<Q", 4) + b"[1] ")
    with pytest.raises(UnavailableError, match="damaged"):
        check_safetensors(tmp_path / "x.safetensors")


def test_pickled_weights_only(copy: Path) -> None:
    (copy / "model.safetensors").unlink()
    (copy / "pytorch_model.bin").write_bytes(b"never read")
    assert "convert them to safetensors" in refusal(copy)


def test_text_only_model(tmp_path: Path) -> None:
    config = LlamaConfig(
        vocab_size=300, hidden_size=32, intermediate_size=32, num_hidden_layers=1, num_attention_heads=2
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path)
    tiny.build_tokenizer().save_pretrained(tmp_path)
    assert "holds a llama model, which takes no images" in refusal(tmp_path)


def test_weights_of_another_size(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["text_config"]["intermediate_size"] = 128
    (copy / "config.json").write_text(json.dumps(config))
    assert "do not fit its config.json" in refusal(copy)


def test_weights_that_lack_a_layer(copy: Path) -> None:
    config = json.loads((copy / "config.json").read_text())
    config["text_config"]["num_hidden_layers"] = 3
    config["text_config"].pop("layer_types", None)
    (copy / "config.json").write_text(json.dumps(config))
    assert "lacks 9 weights of its model" in refusal(copy)


@pytest.mark.parametrize("name", ["processor_config.json", "tokenizer.json"])
def test_missing_processor_file(copy: Path, name: str) -> None:
    (copy / name).unlink()
    message = refusal(copy)
    assert "processor" in message
    assert "copy" in message


def test_missing_chat_template(copy: Path) -> None:
    (copy / "chat_template.jinja").unlink()
    assert "put chat_template.jinja of the original model into the folder" in refusal(copy)


def test_template_without_image(copy: Path) -> None:
    template = "{% for m in messages %}{{ m['content'][0]['text'] }}<|end|>{% endfor %}"
    (copy / "chat_template.jinja").write_text(template)
    assert "image" in refusal(copy)


def test_processor_that_disagrees_with_the_tower(copy: Path) -> None:
    """The tower keeps the class token (17 tokens), this processor writes 16."""
    change(copy / "processor_config.json", vision_feature_select_strategy="default")
    assert "disagree about images" in refusal(copy)


def test_device_that_is_not_there(folder: Path) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    assert "use --device cpu" in refusal(folder, device="cuda:7")
    assert "unknown device" in refusal(folder, device="abacus")


def test_remote_code_is_never_run(copy: Path, tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    (copy / "modeling_x.py").write_text(f"open({str(marker)!r}, 'w')\nclass X: pass\nclass C: pass\n")
    auto = {"AutoConfig": "modeling_x.C", "AutoModelForImageTextToText": "modeling_x.X"}
    change(copy / "config.json", model_type="brand_new_vlm", auto_map=auto)
    assert "--trust-remote-code" in refusal(copy)
    assert not marker.exists()


def test_folders_own_decoding_settings_do_not_count(copy: Path) -> None:
    change(copy / "generation_config.json", repetition_penalty=5.0, do_sample=True, temperature=0.1)
    settings = load_model(copy).base.generation_config
    assert settings.repetition_penalty is None
    assert not settings.do_sample


def test_loading_prints_nothing(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    load_model(folder)
    load_model(folder, quantize="nf4")
    assert capfd.readouterr() == ("", "")


def test_nf4_leaves_tower_projector_and_head_alone(folder: Path) -> None:
    """Two layers with q, k, v, o, gate, up, down each: 14 linears of the language model."""
    vlm = load_model(folder, quantize="nf4")
    assert count_4bit(vlm.base) == (14, 0)
    kinds = {name: type(module) for name, module in vlm.base.named_modules() if isinstance(module, torch.nn.Linear)}
    outside = outside_language_model(vlm.base)
    assert len(kinds) == 14 + len(outside)
    assert {kinds[name] for name in outside} == {torch.nn.Linear}
    assert "lm_head" in outside


def test_nf4_computes_with_the_dequantised_weights(folder: Path, images) -> None:  # type: ignore[no-untyped-def]
    """On any CPU: no silent repacking to bfloat16. The weights themselves moved by quantisation."""
    small, full = load_model(folder, quantize="nf4"), load_model(folder)
    moved = 0.0
    for name, module in small.base.named_modules():
        if type(module).__name__ == "Linear4bit":
            weight = full.base.get_submodule(name).weight
            values = dequantize_4bit(module.weight.data, module.weight.quant_state)
            moved = max(moved, float((weight - values).abs().max()))
            weight.data.copy_(values)
    assert moved > 0
    logits = []
    for vlm in (small, full):
        prompt = vlm.encode_prompt("?", images[:1])
        positions = vlm.row_positions([prompt], len(prompt))
        features = vlm.image_features([prompt])
        logits.append(vlm.forward(prompt.input_ids[None], features=features, position_ids=positions))
    torch.testing.assert_close(*logits, rtol=0, atol=1e-5)


def test_a_half_quantised_tower_is_counted(folder: Path) -> None:
    """The count that guards loading sees a 4-bit layer wherever it is, and refuses the model."""
    from bitsandbytes.nn import Linear4bit

    vlm = load_model(folder, quantize="nf4")
    vlm.base.lm_head = Linear4bit(64, 64)
    assert count_4bit(vlm.base) == (14, 1)
    with pytest.raises(UnavailableError, match="14 layers of the language model and 1 of tower"):
        settle_quantized(vlm.base)


@pytest.mark.parametrize(
    ("processor", "cure"),
    [
        (SimpleNamespace(image_processor=None, tokenizer=object()), "no image processor: copy processor_config.json"),
        (SimpleNamespace(image_processor=object(), tokenizer=SimpleNamespace(is_fast=False)), "add tokenizer.json"),
    ],
    ids=["tokenizer-only", "slow-tokenizer"],
)
def test_half_processors(folder: Path, monkeypatch: pytest.MonkeyPatch, processor: object, cure: str) -> None:
    monkeypatch.setattr(load, "load_processor", lambda *_a, **_k: processor)
    assert cure in refusal(folder)


def test_full_gpu_memory_while_loading_means_later(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_a: object, **_k: object) -> None:
        raise torch.cuda.OutOfMemoryError("out of memory")

    monkeypatch.setattr(load.AutoModelForImageTextToText, "from_pretrained", fail)
    with pytest.raises(TryLaterError, match="not enough GPU memory"):
        load_model(folder)


def test_digest_changes_with_the_defining_files_only(copy: Path) -> None:
    before = digest(copy)
    (copy / "README.md").write_text("hello")
    (copy / "notes.json").write_text("{}")
    assert digest(copy) == before
    assert load_model(copy).digest == before
    (copy / "chat_template.jinja").write_text("other")
    assert digest(copy) != before


def test_adapter_is_loaded_and_named(folder: Path, tmp_path: Path) -> None:
    vlm = load_model(folder)
    add_lora(vlm, rank=2)
    save_adapter(vlm, tmp_path / "adapter")
    loaded = load_model(folder, adapter=tmp_path / "adapter")
    assert loaded.adapter_digest == digest(tmp_path / "adapter")
    assert loaded.digest == vlm.digest


def test_bad_adapters(folders: dict[str, Path], tmp_path: Path) -> None:
    assert "adapter folder" in refusal(folders["llava"], adapter=str(tmp_path / "none"))
    assert "adapter_config.json is missing" in refusal(folders["llava"], adapter=str(folders["llava"]))
    vlm = load_model(folders["llava"])
    add_lora(vlm, rank=2)
    save_adapter(vlm, tmp_path)
    weights = tmp_path / "adapter_model.safetensors"
    change(tmp_path / "adapter_config.json", target_modules="nothing_like_it")
    assert "does not fit this model" in refusal(folders["llava"], adapter=str(tmp_path))
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "cut off" in refusal(folders["llava"], adapter=str(tmp_path))


def test_the_network_is_shut_before_the_libraries_are_imported() -> None:
    """Whatever the environment says; and the package itself imports none of them."""
    code = (
        "import os, sys, medpo_cli.models, medpo_cli.models.folder\n"
        "print(os.environ['HF_HUB_OFFLINE'], os.environ['TRANSFORMERS_OFFLINE'], 'torch' in sys.modules)"
    )
    environment = os.environ | {"HF_HUB_OFFLINE": "0", "TRANSFORMERS_OFFLINE": "0"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1", "1", "False"]
