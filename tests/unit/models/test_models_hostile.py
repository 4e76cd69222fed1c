"""A model folder that attacks: code, pickles, templates, absurd numbers, links, devices. Nothing runs or hangs."""

import contextlib
import json
import os
import pickle
import shutil
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from peft import PeftConfig

from medpo_cli.errors import UnavailableError
from medpo_cli.models import adapter, template
from medpo_cli.models.folder import check_model_folder
from medpo_cli.models.load import load_model
from medpo_cli.models.lora import add_lora, load_second, save_adapter

pytestmark = pytest.mark.timeout(60)
Damage = Callable[[Path], object]
DEEP = '{"a":' * 100_000 + "1" + "}" * 100_000


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    """A file that exists once code of the folder has run."""
    return tmp_path / "code-has-run"


@pytest.fixture
def copy(folders: dict[str, Path], tmp_path: Path, marker: Path) -> Path:
    """A LLaVA folder that a test may damage; its own code leaves the marker."""
    folder = Path(shutil.copytree(folders["llava"], tmp_path / "llava"))
    (folder / "evil.py").write_text(f"open({str(marker)!r}, 'w')\nclass Evil: pass\n")
    return folder


@pytest.fixture
def lora(folders: dict[str, Path], tmp_path: Path) -> Path:
    """An adapter folder that a test may damage."""
    vlm = load_model(folders["llava"])
    add_lora(vlm, rank=2)
    save_adapter(vlm, tmp_path / "lora")
    return tmp_path / "lora"


class Bomb:
    """Unpickling it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str, str]]:
        return open, (str(self.path), "w")


def refused(folder: Path, **options: Any) -> str:
    """The message; it names the folder and nothing above it."""
    with pytest.raises(UnavailableError) as caught:
        load_model(folder, **options)
    assert str(folder.parent) not in str(caught.value)
    return str(caught.value)


def put(name: str, text: str) -> Damage:
    return lambda folder: (folder / name).write_text(text)


def setting(name: str, value: Any, *place: str) -> Damage:
    """Set the last of ``place`` in a JSON file to a value."""

    def change(folder: Path) -> None:
        content = json.loads((folder / name).read_text())
        inner = content
        for key in place[:-1]:
            inner = inner[key]
        inner[place[-1]] = value
        (folder / name).write_text(json.dumps(content))

    return change


def link(name: str, target: str) -> Damage:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)

    return change


def pipe(name: str) -> Damage:
    def change(folder: Path) -> None:
        (folder / name).unlink(missing_ok=True)
        os.mkfifo(folder / name)

    return change


def weights(header: str) -> Damage:
    """Safetensors of that header and no tensor."""
    data = header.encode()
    return lambda folder: (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(data)) + data)


def index(*names: object) -> Damage:
    """Weights that an index alone names."""

    def change(folder: Path) -> None:
        (folder / "model.safetensors").rename(folder.parent / "elsewhere.safetensors")
        listed = {"weight_map": {str(number): name for number, name in enumerate(names)}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(listed))

    return change


CONFIG, PROCESSOR, TOKENIZER, TEMPLATE = "config.json", "processor_config.json", "tokenizer.json", "chat_template.jinja"
FOLDERS: dict[str, tuple[Damage, str]] = {
    "a hundred million layers": (setting(CONFIG, 10**8, "text_config", "num_hidden_layers"), "num_hidden_layers"),
    "as many in the tower": (setting(CONFIG, 10**8, "vision_config", "num_hidden_layers"), "num_hidden_layers"),
    "layers in a word": (setting(CONFIG, "many", "text_config", "num_hidden_layers"), "does not know the model"),
    "a wide model": (setting(CONFIG, 10**9, "text_config", "hidden_size"), "do not fit"),
    "a vocabulary of 10^12": (setting(CONFIG, 10**12, "text_config", "vocab_size"), "do not fit"),
    "a picture of 10^9 pixels a side": (setting(CONFIG, 10**9, "vision_config", "image_size"), "do not fit"),
    "patches of nothing": (setting(CONFIG, 0, "vision_config", "patch_size"), "do not fit"),
    "no heads": (setting(CONFIG, 0, "text_config", "num_attention_heads"), "does not know the model"),
    "an edge of 10^6": (setting(PROCESSOR, {"shortest_edge": 10**6}, "image_processor", "size"), "shortest_edge"),
    "a crop of 10^5": (setting(PROCESSOR, {"height": 10**5, "width": 1}, "image_processor", "crop_size"), "height"),
    "10^9 image tokens": (setting(PROCESSOR, 10**9, "num_additional_image_tokens"), "num_additional_image_tokens"),
    "no patch": (setting(PROCESSOR, 0, "patch_size"), "disagree about images"),
    "a kernel of a repository": (setting(CONFIG, "someone/kernel", "_attn_implementation"), "names code"),
    "an unknown quantization": (setting(CONFIG, {"quant_method": "gptq", "bits": 4}, "quantization_config"), "package"),
    "deep configuration": (put(CONFIG, DEEP), "not valid JSON"),
    "deep processor": (put(PROCESSOR, DEEP), "not valid JSON"),
    "deep tokenizer": (put(TOKENIZER, DEEP), "no usable processor"),
    "deep decoding": (put("generation_config.json", DEEP), "do not fit"),
    "decoding as a list": (put("generation_config.json", "[]"), "do not fit"),
    "a tokenizer of words": (put(TOKENIZER, "not a tokenizer"), "no usable processor"),
    "a tokenizer as a list": (put(TOKENIZER, "[]"), "no usable processor"),
    "a tokenizer without vocabulary": (put(TOKENIZER, '{"model": {"type": "BPE"}}'), "no usable processor"),
    "a tokenizer with a broken pattern": (
        setting(TOKENIZER, {"type": "Split", "pattern": {"Regex": "("}, "behavior": "Isolated"}, "pre_tokenizer"),
        "no usable processor",
    ),
    "a processor class of the folder": (setting(PROCESSOR, "Evil", "processor_class"), "no image processor"),
    "an endless file as weights": (link("model.safetensors", "/dev/zero"), "not a regular file"),
    "an endless file as tokenizer": (link(TOKENIZER, "/dev/zero"), "not a regular file"),
    "a pipe as configuration": (pipe(CONFIG), "not a regular file"),
    "a pipe that only the digest would read": (pipe("vocab.json"), "not a regular file"),
    "a link to nothing": (link("generation_config.json", "nothing"), "not a regular file"),
    "a link out of the folder": (link("merges.txt", "/etc/hostname"), "link out of the folder"),
    "an index that leaves the folder": (index("../elsewhere.safetensors"), "no safetensors of this folder"),
    "an index of a folder": (index("."), "no safetensors of this folder"),
    "an index of pickles": (index("pytorch_model.bin"), "no safetensors of this folder"),
    "an index of escape codes": (index("\x1b[2J.safetensors"), "no safetensors of this folder"),
    "an index of numbers": (index(1, 2), "names no weights"),
    "a deep index": (
        lambda folder: (index()(folder), (folder / "model.safetensors.index.json").write_text(DEEP)), "not valid JSON",
    ),
    "weights with a deep header": (weights(DEEP), "cut off or damaged"),
    "weights with a list as header": (weights("[]"), "cut off or damaged"),
    "weights before their start": (weights('{"a":{"dtype":"F32","shape":[1],"data_offsets":[-4,0]}}'), "do not fit"),
    "weights of 10^14 numbers": (weights('{"a":{"dtype":"F32","shape":[99999999999999],"data_offsets":[0,0]}}'), "fit"),
}  # fmt: skip


@pytest.mark.parametrize("attack", FOLDERS)
def test_a_hostile_folder_is_refused_with_what_is_wrong(copy: Path, marker: Path, attack: str) -> None:
    damage, said = FOLDERS[attack]
    damage(copy)
    message = refused(copy)
    assert said in message
    assert message.isprintable()
    assert not marker.exists()


def test_large_files_are_refused_before_they_are_read(copy: Path) -> None:
    with (copy / "tokenizer_config.json").open("ab") as stream:
        stream.truncate(2**40)  # a hole: it takes no room on the disk
    assert "larger than 1024 MiB" in refused(copy)


def test_links_of_the_hubs_own_cache_are_followed(copy: Path, tmp_path: Path) -> None:
    blobs, snapshot = tmp_path / "cache" / "blobs", tmp_path / "cache" / "snapshots" / "abc"
    blobs.mkdir(parents=True)
    snapshot.mkdir(parents=True)
    for number, path in enumerate(sorted(copy.iterdir())):
        shutil.move(path, blobs / str(number))
        (snapshot / path.name).symlink_to(f"../../blobs/{number}")
    check_model_folder(snapshot)


# --- code ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "model.ckpt"])
def test_pickles_are_refused_and_never_unpickled(copy: Path, marker: Path, name: str) -> None:
    bomb = pickle.dumps(Bomb(marker))
    (copy / name).write_bytes(bomb)
    load_model(copy)  # beside the safetensors it is not even opened
    assert not marker.exists()
    (copy / "model.safetensors").unlink()
    assert "pickled weights only" in refused(copy)
    (copy / "model.safetensors").write_bytes(bomb)
    assert "cut off or damaged" in refused(copy)
    assert not marker.exists()
    pickle.loads(bomb).close()
    assert marker.exists(), "the pickle itself must work"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (CONFIG, {"AutoConfig": "evil.Evil", "AutoModelForImageTextToText": "evil.Evil"}),
        (PROCESSOR, {"AutoProcessor": "evil.Evil", "AutoImageProcessor": "evil.Evil"}),
        ("tokenizer_config.json", {"AutoTokenizer": ["evil.Evil", "evil.Evil"]}),
        (CONFIG, {"AutoConfig": "someone/repository--evil.Evil"}),
    ],
)
def test_code_of_the_folder_does_not_run_where_transformers_knows_the_model(
    copy: Path, marker: Path, name: str, value: dict[str, Any]
) -> None:
    setting(name, value, "auto_map")(copy)
    with contextlib.suppress(UnavailableError):
        load_model(copy)
    assert not marker.exists()


# --- templates -----------------------------------------------------------------------------------

FOREVER = "{% for a in range(99999) %}{% for b in range(99999) %}{% for c in range(99999) %}{% endfor %}"
TEMPLATES = {
    "endless": (FOREVER + "{% endfor %}{% endfor %}", "does not end"),
    "squares": (
        "{% set n = namespace(x=99999999) %}{% for i in range(60) %}{% set n.x = n.x * n.x %}{% endfor %}",
        "does not end",
    ),
    "powers": ("{{ 10 ** 10 ** 10 }}", "powers"),
    "a huge range": ("{% for a in range(1000000000) %}x{% endfor %}", "OverflowError"),
    "without end in itself": ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "RecursionError"),
    "deep": ("{{ " + "(" * 20000 + "1" + ")" * 20000 + " }}", "RecursionError"),
    "Python's objects": ("{{ ''.__class__.__mro__[1].__subclasses__() }}", "SecurityError"),
    "Python's globals": ("{{ cycler.__init__.__globals__.os.system('true') }}", "SecurityError"),
    "change of what it is shown": ("{{ messages.append(1) }}", "SecurityError"),
    "other files": ("{% include '/etc/hostname' %}", "TypeError"),
    "own message": ("{{ raise_exception(messages[0]['content'][0]['text']) }}", "TemplateError"),
    "no template": ("{% for", "chat template"),
    "unknown mark": ("{{ 'a }}", "not valid Jinja"),
    "long": ("x" * (2**20 + 1), "no text of up to"),
}


@pytest.mark.parametrize("attack", TEMPLATES)
def test_a_hostile_template_ends_with_the_cure(copy: Path, monkeypatch: pytest.MonkeyPatch, attack: str) -> None:
    text, said = TEMPLATES[attack]
    monkeypatch.setattr(template, "SECONDS", 0.3)
    put(TEMPLATE, text)(copy)
    message = refused(copy)
    assert said in message
    assert "chat_template.jinja of the original model" in message


def test_a_template_that_turns_hostile_later_is_stopped_too(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every question is rendered under the limit, not only the first."""
    trap = "{% if 'nodule' in messages[0]['content'][-1]['text'] %}" + FOREVER + "{% endfor %}{% endfor %}{% endif %}"
    put(TEMPLATE, trap + (copy / TEMPLATE).read_text())(copy)
    vlm = load_model(copy)
    vlm.encode_prompt("?", [])
    monkeypatch.setattr(template, "SECONDS", 0.3)
    with pytest.raises(UnavailableError, match="does not end"):
        vlm.encode_prompt("Is there a nodule?", [])
    vlm.encode_prompt("?", [])


def test_several_named_templates_are_each_checked() -> None:
    template.check_template({"default": "{{ messages }}", "tool_use": "{{ 2 * 2 }}"})
    with pytest.raises(UnavailableError, match="powers"):
        template.check_template({"default": "{{ messages }}", "tool_use": "{{ 2 ** 2 }}"})


# --- adapters ------------------------------------------------------------------------------------

ADAPTER = "adapter_config.json"
ADAPTERS = {
    "another method": (setting(ADAPTER, "PREFIX_TUNING", "peft_type"), "no LoRA adapter"),
    "an unknown method": (setting(ADAPTER, ["x"], "peft_type"), "no LoRA adapter"),
    "a module by name": (setting(ADAPTER, {"a": 1}, "megatron_config"), "megatron_config"),
    "a pickle of statistics": (setting(ADAPTER, {"cache_file": "x.pt"}, "corda_config"), "corda_config"),
    "a pickle of gradients": (setting(ADAPTER, {"cache_file": "x.pt"}, "lora_ga_config"), "lora_ga_config"),
    "other adapters": (setting(ADAPTER, {"task_adapter_names": ["a"]}, "arrow_config"), "arrow_config"),
    "copies of layers": (setting(ADAPTER, [[0, 2]] * 10**5, "layer_replication"), "layer_replication"),
    "a rank of 10^9": (setting(ADAPTER, 10**9, "r"), "does not fit"),
    "a rank in a word": (setting(ADAPTER, "x", "r"), "does not fit"),
    "a token that is not there": (setting(ADAPTER, [10**9], "trainable_token_indices"), "does not fit"),
    "an endless pattern": (setting(ADAPTER, "((.+)+)+!", "target_modules"), "too long"),
    "an endless pattern of ranks": (setting(ADAPTER, {"((.+)+)+!": 4}, "rank_pattern"), "too long"),
    "a broken pattern": (setting(ADAPTER, "((", "target_modules"), "not valid"),
    "deep": (put(ADAPTER, DEEP), "not valid JSON"),
    "an endless file": (link("adapter_model.safetensors", "/dev/zero"), "is missing"),
}


@pytest.mark.parametrize("attack", ADAPTERS)
def test_a_hostile_adapter_is_refused_with_what_is_wrong(
    folders: dict[str, Path], lora: Path, monkeypatch: pytest.MonkeyPatch, attack: str
) -> None:
    damage, said = ADAPTERS[attack]
    monkeypatch.setattr(adapter, "SECONDS", 0.3)
    damage(lora)
    assert said in refused(folders["llava"], adapter=lora)


def test_a_pickled_adapter_is_refused_and_never_unpickled(folders: dict[str, Path], lora: Path, marker: Path) -> None:
    (lora / "adapter_model.bin").write_bytes(pickle.dumps(Bomb(marker)))
    load_model(folders["llava"], adapter=lora)
    (lora / "adapter_model.safetensors").unlink()
    assert "adapter_model.safetensors is missing" in refused(folders["llava"], adapter=lora)
    assert not marker.exists()


def test_a_second_adapter_is_looked_at_in_the_same_way(
    folders: dict[str, Path], lora: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vlm = load_model(folders["llava"], adapter=lora)
    monkeypatch.setattr(adapter, "SECONDS", 0.3)
    setting(ADAPTER, "((.+)+)+!", "target_modules")(lora)
    with pytest.raises(UnavailableError, match="too long"):
        load_second(vlm, lora)


def test_no_setting_of_our_own_adapters_is_refused(lora: Path) -> None:
    """What PEFT writes today passes; were a new kind of nested settings to come, this list would need a look."""
    known = {"runtime_config", "velora_config", "monteclora_config", "kasa_config", "use_bdlora"}
    nested = {name for name in vars(PeftConfig.from_pretrained(str(lora))) if name.endswith("_config")}
    assert nested - known == set(adapter.FOREIGN) - {"layer_replication"}
    adapter.check_adapter_config(lora)
