"""What a model is made of, as far as memory is concerned; works on a skeleton without weights too."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from medpo_cli.models.family.base import language_prefix
from medpo_cli.models.quantize import quantized


@dataclass(frozen=True)
class Anatomy:
    """Sizes of a model; widths count elements of one token.

    Attributes:
        layers: of the language model.
        hidden, query, key_value, intermediate: widths inside a layer.
        heads: of the queries.
        norms: normalisations of the hidden state in a layer.
        qk_norm: queries and keys are normalised too.
        vocabulary: rows of the output head.
        linears: (in, out) of every linear of the language model, which is what gets adapters.
        weights: bytes of all weights as they are kept.
        unpacked: bytes of the largest quantised linear while it is used; 0 if none is quantised.
        levels: tensors of the hidden width that an image token has (1, more with deepstack).
        dtype: of the activations.
    """

    layers: int
    hidden: int
    query: int
    key_value: int
    intermediate: int
    heads: int
    norms: int
    qk_norm: bool
    vocabulary: int
    linears: tuple[tuple[int, int], ...]
    weights: int
    unpacked: int
    levels: int
    dtype: torch.dtype


def anatomy(model: Any, *, nf4: bool = False) -> Anatomy:
    """Measure a transformers image-text model, with or without adapters, on any device (meta: no weights).

    Args:
        model: the model.
        nf4: a model in full precision, counted as if its language model were loaded in 4 bit.
    """
    text = model.config.get_text_config()
    width = getattr(text, "head_dim", None) or text.hidden_size // text.num_attention_heads
    prefix = language_prefix(model) + "."
    linears = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, nn.Linear) and name.startswith(prefix) and "lora_" not in name
    }
    first = next((module for name, module in model.named_modules() if name == f"{prefix}layers.0"), None)
    names = [name for name, part in first.named_modules() if type(part).__name__.endswith("Norm")] if first else []
    largest = max((module.in_features * module.out_features for module in linears.values()), default=0)
    dtype = model.get_input_embeddings().weight.dtype
    small = nf4 or bool(quantized(model))
    return Anatomy(
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        query=text.num_attention_heads * width,
        key_value=(getattr(text, "num_key_value_heads", None) or text.num_attention_heads) * width,
        intermediate=text.intermediate_size,
        heads=text.num_attention_heads,
        norms=sum(not name.endswith(("q_norm", "k_norm")) for name in names) or 2,
        qk_norm=any(name.endswith("q_norm") for name in names),
        vocabulary=text.vocab_size,
        linears=tuple((module.in_features, module.out_features) for module in linears.values()),
        weights=weight_bytes(model) - (_saved_by_nf4(linears.values()) if nf4 else 0),
        unpacked=largest * dtype.itemsize if small else 0,
        levels=1 + len(getattr(getattr(model.config, "vision_config", None), "deepstack_visual_indexes", None) or ()),
        dtype=dtype,
    )


def weight_bytes(model: Any) -> int:
    """Bytes of all weights and buffers without adapters, each memory counted once, 4-bit scales included."""
    found: dict[int, int] = {}
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        if "lora_" in name:
            continue
        for part in (tensor, *_scales(tensor)):
            key = id(part) if part.is_meta else part.untyped_storage().data_ptr()
            found[key] = part.numel() * part.element_size()
    return sum(found.values())


def _scales(tensor: Tensor) -> Iterator[Tensor]:
    """The tensors that bitsandbytes keeps beside a 4-bit weight."""
    state = getattr(tensor, "quant_state", None)
    while state is not None:
        yield from (value for value in (state.absmax, state.code, state.offset) if isinstance(value, Tensor))
        state = state.state2


def _saved_by_nf4(linears: Any) -> int:
    """Bytes that 4 bit save: half a byte an element, one more for each 64, four more for each 256 of those."""
    saved = 0
    for linear in linears:
        count = linear.weight.numel()
        saved += count * linear.weight.element_size() - (count // 2 + count // 64 + 4 * (count // (64 * 256)))
    return saved
