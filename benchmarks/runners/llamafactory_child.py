"""Runs in LLaMA-Factory's environment: its training entry with the chat template of the benchmark's models.

The published wheels of torchvision and torchaudio are linked against CUDA and fail beside a CPU torch. Still
images need neither, so the missing operators get empty definitions and torchaudio an empty module.
"""

import importlib.machinery
import sys
import types

import torch

audio = types.ModuleType("torchaudio")
audio.__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
sys.modules["torchaudio"] = audio
operators = torch.library.Library("torchvision", "DEF")
for name in ("nms", "qnms"):
    operators.define(f"{name}(Tensor boxes, Tensor scores, float threshold) -> Tensor")

from llamafactory.data.formatter import StringFormatter  # noqa: E402
from llamafactory.data.mm_plugin import get_mm_plugin  # noqa: E402
from llamafactory.data.template import register_template  # noqa: E402
from llamafactory.train.tuner import run_exp  # noqa: E402

register_template(
    name="bench",
    format_user=StringFormatter(slots=["<|user|>{{content}}<|end|><|assistant|>"]),
    format_assistant=StringFormatter(slots=["{{content}}<|end|>"]),
    mm_plugin=get_mm_plugin(name="llava", image_token="<image>"),
)
run_exp()
