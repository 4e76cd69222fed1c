"""What builders of tiny random models share: text settings, tokenizers, weights."""

from typing import Any

import torch

from medpo_cli.models import tiny

TEXT = {
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "max_position_embeddings": 1024,
    "bos_token_id": None,
}


def tokenizer_for(image: str, extra: list[str], **names: str) -> tuple[Any, dict[str, Any]]:
    """A tokenizer with named tokens, and the text settings that go with it."""
    tokenizer = tiny.build_tokenizer(extra_tokens=extra, image=image)
    for name, token in names.items():
        setattr(tokenizer, name, token)
        setattr(tokenizer, f"{name}_id", tokenizer.convert_tokens_to_ids(token))
    known = {
        "vocab_size": len(tokenizer),
        "pad_token_id": tokenizer.pad_token_id,
        "eos_token_id": tokenizer.eos_token_id,
    }
    return tokenizer, TEXT | known


def finish(model_class: Any, config: Any, tokenizer: Any) -> Any:
    torch.manual_seed(0)
    model = model_class(config).eval().requires_grad_(False)
    for parameter in model.parameters():
        if parameter.ndim > 1:
            parameter.mul_(3.0)
    model.generation_config.eos_token_id = tokenizer.eos_token_id
    return model
