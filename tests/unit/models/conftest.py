"""Tiny models as folders and loaded; weights are scaled up so that answers differ from image to image."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from medpo_cli.models import tiny
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.load import load_model

Build = Callable[..., tuple[Any, Any]]
FAMILIES: dict[str, Build] = {"llava": tiny.build_llava, "qwen2_5_vl": tiny.build_qwen2_5_vl}


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Folder of each family's tiny model; read only."""
    found = {}
    for name, build in FAMILIES.items():
        model, processor = build()
        for parameter in model.parameters():
            parameter.data.mul_(3.0)
        found[name] = tiny.save(tmp_path_factory.mktemp("models") / name, model, processor)
    return found


@pytest.fixture(params=sorted(FAMILIES))
def family(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def folder(folders: dict[str, Path], family: str) -> Path:
    return folders[family]


@pytest.fixture
def vlm(folder: Path) -> VisionLanguageModel:
    return load_model(folder)


@pytest.fixture
def llava(folders: dict[str, Path]) -> VisionLanguageModel:
    return load_model(folders["llava"])


@pytest.fixture
def images() -> list[np.ndarray]:
    """Four pictures of different sizes."""
    draw = np.random.default_rng(0)
    return [draw.integers(0, 255, (24 + 8 * k, 56, 3), dtype=np.uint8) for k in range(4)]
