"""The last layer works on few positions: what is read stays the same, what is not costs nothing."""

import pytest
import torch
from data.training_pairs import BUILDERS, PAIRS, encode, engine, tiny

from medpo_cli.training.objectives.methods import resolve
from medpo_cli.training.scoring import states

TERMS = resolve("fire-mpo")


@pytest.mark.parametrize("kind", sorted(BUILDERS))
def test_kept_states_are_those_of_the_whole_layer(kind: str) -> None:
    vlm = tiny(kind, torch.float64)
    encoder, examples = encode(vlm, TERMS, PAIRS)
    run = engine(vlm, TERMS, encoder, forest=vlm.forest)
    (layout, *_) = run.layouts([unit for example in examples for unit in example.units])
    features = run.features.get(layout.prompts)
    with torch.no_grad():
        narrow = states(vlm, layout, features)
        inputs = vlm._inputs(layout.input_ids, features, layout.attention_mask, layout.position_ids)
        whole = vlm.base.model(**inputs, use_cache=False)[0][layout.keep]
    torch.testing.assert_close(narrow, whole, rtol=0, atol=1e-12)


def test_the_mlp_sees_the_kept_positions_and_one_more_a_row() -> None:
    vlm = tiny("llava")
    encoder, examples = encode(vlm, TERMS, PAIRS[:1])
    run = engine(vlm, TERMS, encoder, forest=True)
    (layout, *_) = run.layouts(examples[0].units)
    seen: dict[int, int] = {}
    layers = vlm.base.get_decoder().layers
    for number, layer in enumerate(layers):
        layer.mlp.down_proj.register_forward_hook(
            lambda _module, inputs, _output, number=number: seen.update({number: inputs[0].shape[-2]})
        )
    states(vlm, layout, run.features.get(layout.prompts))
    assert seen[len(layers) - 1] == int(layout.keep.sum()) + len(layout.keep)
    assert seen[0] == layout.input_ids.shape[1]
    vlm.forward(layout.input_ids[:, :1])  # nothing of it is left behind
    assert seen[len(layers) - 1] == 1


def test_decoders_of_another_shape_are_left_alone() -> None:
    vlm = tiny("llava")
    vlm.last_layer.decoder = torch.nn.Linear(1, 1)
    assert vlm.last_layer._modules() == []
    vlm.last_layer.decoder = vlm.base.get_decoder()
    assert len(vlm.last_layer._modules()) == 3
    del vlm.base.get_decoder().layers[-1].mlp.gate_proj, vlm.base.get_decoder().layers[-1].mlp.up_proj
    assert len(vlm.last_layer._modules()) == 2  # experts look at the shape of what they are given
