"""What one forward pass keeps for its backward pass: measured on a loaded model, or counted from its sizes."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from medpo_cli.models.anatomy import Anatomy
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.family import ImageFeatures
from medpo_cli.models.recompute import decoder_layers
from medpo_cli.training.layout import Layout
from medpo_cli.training.scoring import CHUNK, logprobs, states


@dataclass(frozen=True)
class Row:
    """Bytes of one micro-batch between forward and backward.

    Attributes:
        tokens: of the micro-batch, padding included.
        layers: kept by all layers of the language model.
        layer: kept by the layer that keeps most.
        last: kept by the last layer, which works on few positions and is freed first.
        inputs: the hidden states handed from layer to layer: all that gradient checkpointing keeps.
        head: logits, log-probabilities and their gradients.
        workspace: what the backward pass of a whole layer needs besides.
        record: id of the record that it belongs to.
    """

    tokens: int
    layers: int
    layer: int
    last: int
    inputs: int
    head: int
    workspace: int
    record: str = ""

    def activations(self, *, checkpointing: bool) -> int:
        """Bytes that the layers keep."""
        return self.inputs + self.layer if checkpointing else self.layers

    def beyond(self, *, checkpointing: bool) -> int:
        """What a whole layer's backward pass needs beyond the head, which is freed by then as the last layer is."""
        return max(0, self.workspace - self.head - (0 if checkpointing else self.last))

    def total(self, *, checkpointing: bool) -> int:
        """Bytes at the highest point: when the head goes backward, or the layer before the last."""
        return self.activations(checkpointing=checkpointing) + self.head + self.beyond(checkpointing=checkpointing)


def measured(vlm: VisionLanguageModel, layout: Layout, features: Sequence[ImageFeatures], body: Anatomy) -> Row:
    """Run one forward pass that keeps nothing and adds up what it would have kept.

    Memory that several operations keep counts once; weights and image features do not count. So a row that
    does not fit can be measured where it does not fit. Gradient checkpointing must be off.
    """
    layers = decoder_layers(vlm)
    sizes = [0] * (len(layers) + 1)  # the last one: outside the layers
    place = len(layers)
    # A weak reference keeps the address of a freed memory from being given to another one.
    seen = {ref.cdata: ref for ref in map(_storage, _standing(vlm, features))}

    def enter(number: int) -> Callable[..., None]:
        def hook(*_: Any) -> None:
            nonlocal place
            place = number

        return hook

    def pack(tensor: Tensor) -> None:
        ref = _storage(tensor)
        if ref.cdata not in seen:
            seen[ref.cdata] = ref
            sizes[place] += tensor.untyped_storage().nbytes()

    with ExitStack() as stack:
        for number, layer in enumerate(layers):
            for handle in (
                layer.register_forward_pre_hook(enter(number)),
                layer.register_forward_hook(enter(len(layers))),
            ):
                stack.callback(handle.remove)
        stack.enter_context(torch.autograd.graph.saved_tensors_hooks(pack, _never))
        logprobs(vlm, layout, states(vlm, layout, features))
    tokens = layout.input_ids.numel()
    return Row(
        tokens=tokens,
        layers=sum(sizes[:-1]),
        layer=max(sizes[:-1], default=0),
        last=sizes[-2] if layers else 0,
        inputs=_inputs(body, tokens),
        head=sizes[-1] + _logit_gradients(body, kept_positions(layout)),
        workspace=_workspace(body, tokens),
    )


def counted(body: Anatomy, tokens: int, kept: int, *, rank: int, dropout: float = 0.0, rows: int = 1) -> Row:
    """The same from sizes alone, for decoders with RMS norms, gated MLP and SDPA.

    Per token a layer keeps, in the type of the activations: the input of every linear (one copy for linears
    that share it), queries, keys, values (repeated for each query head, because a mask is given) and their
    result, gate, its activation, up and their product, ``rank`` elements for each adapter; in float32 the
    input of every norm and one number a head; and its line of the attention mask. The last layer has queries'
    and outputs' adapters and the MLP for kept positions only.

    Args:
        body: sizes of the model.
        tokens: of the micro-batch.
        kept: positions whose logits are needed.
        rank: of the adapters.
        dropout: LoRA dropout: keeps the dropped input and its mask for each adapter.
        rows: that the tokens are spread over.
    """
    size = body.dtype.itemsize
    per_layer = max(1, len(body.linears) // body.layers)
    one = size * (2 * body.hidden + 4 * body.query + 4 * body.intermediate + per_layer * rank)
    one += 4 * (body.norms * body.hidden + body.heads)
    one += 4 * (body.query + body.key_value) if body.qk_norm else 0
    if dropout:
        one += sum(inside for inside, _ in body.linears) // body.layers * (size + 1)
    layer = one * tokens + size * tokens * tokens // rows
    spared = size * (body.hidden + 4 * body.intermediate + (per_layer - 2) * rank)
    if dropout:
        spared += (sum(inside for inside, _ in body.linears) // body.layers - 2 * body.hidden) * (size + 1)
    last = layer - spared * max(0, tokens - kept - rows)
    return Row(
        tokens=tokens,
        layers=(body.layers - 1) * layer + last,
        layer=layer,
        last=last,
        inputs=_inputs(body, tokens),
        head=tokens * body.hidden * 4 + kept * body.vocabulary * (4 + size) + _logit_gradients(body, kept),
        workspace=_workspace(body, tokens),
    )


def _inputs(body: Anatomy, tokens: int) -> int:
    return body.layers * tokens * body.hidden * body.dtype.itemsize


def _logit_gradients(body: Anatomy, kept: int) -> int:
    """Reference rows, differences and gradients at the kept logits, float32: about six of each."""
    return 6 * 4 * kept * body.vocabulary


def _workspace(body: Anatomy, tokens: int) -> int:
    """Gradients inside one layer at their highest (the MLP), and a linear out of 4 bit."""
    size = body.dtype.itemsize
    return tokens * (3 * size * body.intermediate + 8 * body.hidden) + body.unpacked


def kept_positions(layout: Layout) -> int:
    """Logits that exist at one time, those whose whole distribution is read counted once more."""
    needed = sum(len(row.reading.nodes) + len(row.reading.kl) for row in layout.rows)
    return min(needed, 2 * CHUNK)


def _storage(tensor: Tensor) -> StorageWeakRef:
    return StorageWeakRef(tensor.untyped_storage())  # type: ignore[no-untyped-call]


def _standing(vlm: VisionLanguageModel, features: Sequence[ImageFeatures]) -> Iterator[Tensor]:
    yield from vlm.model.parameters()
    yield from vlm.model.buffers()
    for one in features:
        yield from one.tokens
        yield from (part for level in one.deepstack for part in level)


def _never(_: None) -> Tensor:
    raise AssertionError("nothing was kept for a backward pass")
