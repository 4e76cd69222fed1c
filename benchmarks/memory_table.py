"""Write docs/reference/memory.md: predicted memory of align for real models, counted from their configurations.

    python benchmarks/memory_table.py            write the page
    python benchmarks/memory_table.py --check    fail if the page is stale

No weights are loaded: each model is built on the meta device, its parameters are counted, and a row's activations
follow from its sizes (medpo_cli/training/activations.py, ``counted``). Nothing here was measured on a GPU;
benchmarks/memory.py compares the same predictions with what torch allocates on a CPU.
"""

import sys
from pathlib import Path
from typing import Any, Literal

import torch
from transformers import Gemma3Config, LlavaConfig, Qwen2_5_VLConfig, Qwen3VLConfig

from medpo_cli.models.anatomy import Anatomy, anatomy
from medpo_cli.models.skeleton import bare_model
from medpo_cli.schema.config import AlignConfig
from medpo_cli.training.activations import counted
from medpo_cli.training.memory import Memory, image_bytes, standing

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "memory.md"
TEXT = 52
"""Tokens of one row beside its image: question, template, both cut answers (docs: VQA, 15-token answers)."""
KEPT = 10
"""Positions of a row whose logits are needed."""
RANK = 128
IMAGES = 16
"""Image features kept: a batch of 8 pairs with its corrupted images."""


def qwen3_vl(hidden: int, inner: int, tower: dict[str, Any], *, tied: bool) -> Qwen3VLConfig:
    """Qwen3-VL with 36 layers and 32 query heads of 128 on 8 key-value heads."""
    text = {
        "hidden_size": hidden, "intermediate_size": inner, "num_hidden_layers": 36, "num_attention_heads": 32,
        "num_key_value_heads": 8, "head_dim": 128, "vocab_size": 151936, "tie_word_embeddings": tied,
    }  # fmt: skip
    return Qwen3VLConfig(text_config=text, vision_config={**tower, "out_hidden_size": hidden}, tie_word_embeddings=tied)


SMALL_TOWER = {"depth": 24, "hidden_size": 1024, "intermediate_size": 4096, "deepstack_visual_indexes": [5, 11, 17]}
QWEN_2_5 = Qwen2_5_VLConfig(
    text_config={
        "hidden_size": 3584, "intermediate_size": 18944, "num_hidden_layers": 28, "num_attention_heads": 28,
        "num_key_value_heads": 4, "vocab_size": 152064, "max_window_layers": 28,
    },
    vision_config={"hidden_size": 1280, "intermediate_size": 3420, "depth": 32, "out_hidden_size": 3584},
)  # fmt: skip
GEMMA = Gemma3Config(
    text_config={
        "hidden_size": 2560, "intermediate_size": 10240, "num_hidden_layers": 34, "num_attention_heads": 8,
        "num_key_value_heads": 4, "head_dim": 256, "vocab_size": 262208,
    },
    vision_config={
        "hidden_size": 1152, "intermediate_size": 4304, "num_hidden_layers": 27, "num_attention_heads": 16,
        "patch_size": 14, "image_size": 896, "vision_use_head": False,
    },
)  # fmt: skip
MODELS: dict[str, tuple[Any, tuple[int, ...], str]] = {
    "Qwen3-VL-4B": (
        qwen3_vl(2560, 9728, SMALL_TOWER, tied=True), (256, 361, 1024), "published sizes, as in the reference notes"
    ),
    "Qwen3-VL-8B": (
        qwen3_vl(4096, 12288, {}, tied=False), (256, 361, 1024),
        "text: sizes of Qwen3-8B, from memory; tower: defaults of transformers",
    ),
    "LLaVA-1.5-7B": (LlavaConfig(), (576,), "defaults of transformers"),
    "MedGemma-4B": (GEMMA, (256,), "sizes of Gemma 3 4B with its SigLIP tower, from memory"),
    "Qwen2.5-VL-7B": (QWEN_2_5, (256, 361, 1024), "published layer listing; rest: defaults of transformers"),
}  # fmt: skip
"""Configuration, image tokens, where the sizes come from."""


def predicted(body: Anatomy, image: int, rows: int, optimizer: Literal["adamw", "adamw8bit"], again: bool) -> Memory:
    """Peak of a micro-batch of ``rows`` rows with ``image`` image tokens each."""
    config = AlignConfig(rank=RANK, optimizer=optimizer)
    row = counted(body, rows * (image + TEXT), rows * KEPT, rank=RANK, rows=rows)
    fixed = standing(body, config, IMAGES * image_bytes(body, image))
    return Memory(
        **{name: getattr(fixed, name) for name in ("weights", "adapters", "masters", "gradients", "optimizer")},
        features=fixed.features,
        activations=row.activations(checkpointing=again),
        logits=row.head,
        workspace=row.beyond(checkpointing=again),
    )


def gib(count: float) -> str:
    """GiB with one decimal."""
    return f"{count / 2**30:.1f}"


HEAD = f"""<!-- Made by `python benchmarks/memory_table.py`; do not edit. -->

# Memory of `medpo align`

**Predicted, not measured on any GPU.** Each figure is counted from a model's sizes: weights, LoRA of rank {RANK} on
all linears of the language model, and one micro-batch. `medpo align --estimate` says the same for your model, data and
settings, with activations measured on your longest record; `--max-memory GIB` makes a run fit.

How far the counting can be trusted: on the CPU the predicted peak is within 15 % of what torch allocates (a test holds
it there, `python benchmarks/memory.py` prints the figures), and counted activations are within 10 % of measured ones
for every family. Not counted: what the driver takes, holes between tensors, short-lived tensors of the vision tower.

- **nf4**: language model in 4 bit with double quantisation (`--qlora`), tower, projector, embeddings and head in
  bfloat16; moments in 8 bit (`--optimizer adamw8bit`). **bf16**: everything in bfloat16, float32 moments (`adamw`).
- Both: bfloat16 adapters with float32 masters and float32 gradients, LoRA dropout 0.
- **rows**: (record, image) rows of one micro-batch. A batch of 8 pairs is 16 rows, run one micro-batch after another,
  so that the batch size costs nothing; a row is the image and {TEXT} more tokens, {KEPT} of them with logits.
- **recomputed**: `--checkpointing on`. Features of {IMAGES} images are kept.
"""


def table(name: str, config: Any, images: tuple[int, ...]) -> str:
    """Image tokens x rows x quantisation of one model."""
    model = bare_model(config, torch.bfloat16)
    kinds: dict[str, tuple[Anatomy, Literal["adamw", "adamw8bit"]]] = {
        "nf4": (anatomy(model, nf4=True), "adamw8bit"), "bf16": (anatomy(model), "adamw")
    }  # fmt: skip
    count = sum(parameter.numel() for parameter in model.parameters()) / 1e9
    adapters = sum(sum(sizes) for sizes in kinds["bf16"][0].linears) * RANK / 1e6
    fixed = {kind: predicted(body, images[0], 1, moments, False) for kind, (body, moments) in kinds.items()}
    lines = [
        f"\n## {name}\n\n{count:.2f} G parameters, {adapters:.0f} M of adapters; "
        f"weights {gib(fixed['nf4'].weights)} GiB in nf4, {gib(fixed['bf16'].weights)} GiB in bf16.\n\n",
        "| image tokens | rows | nf4, recomputed | nf4 | bf16, recomputed | bf16 |\n|---:|---:|---:|---:|---:|---:|\n",
    ]
    for image in images:
        for rows in (1, 2, 8):
            cells = [
                gib(predicted(body, image, rows, moments, again).total)
                for body, moments in kinds.values()
                for again in (True, False)
            ]
            lines.append(f"| {image} | {rows} | " + " | ".join(cells) + " |\n")
    return "".join(lines)


def parts(name: str, image: int) -> str:
    """What the peak is made of, for one model."""
    model = bare_model(MODELS[name][0], torch.bfloat16)
    memories = {
        "nf4, recomputed": predicted(anatomy(model, nf4=True), image, 1, "adamw8bit", True),
        "nf4": predicted(anatomy(model, nf4=True), image, 1, "adamw8bit", False),
        "bf16": predicted(anatomy(model), image, 1, "adamw", False),
    }
    lines = [f"\n## What it is made of: {name}, {image} image tokens, one row (GiB)\n\n| part | "]
    lines.append(" | ".join(memories) + " |\n|---|" + "---:|" * len(memories) + "\n")
    lines.extend(
        f"| {part} | " + " | ".join(f"{getattr(memory, part) / 2**30:.2f}" for memory in memories.values()) + " |\n"
        for part in (*Memory.__dataclass_fields__, "total")
    )
    return "".join(lines)


def page() -> str:
    """The whole page."""
    sources = "\n## Where the sizes come from\n\n" + "".join(
        f"- {name}: {text}.\n" for name, (_, _, text) in MODELS.items()
    )
    tables = "".join(table(name, config, images) for name, (config, images, _) in MODELS.items())
    return HEAD + tables + parts("Qwen3-VL-4B", 1024) + sources


def main() -> int:
    """Write or check."""
    text = page()
    if "--check" not in sys.argv:
        PAGE.write_text(text, "utf-8")
        return 0
    stale = not PAGE.exists() or PAGE.read_text("utf-8") != text
    print("docs/reference/memory.md is stale: run benchmarks/memory_table.py" if stale else "up to date")
    return int(stale)


if __name__ == "__main__":
    sys.exit(main())
