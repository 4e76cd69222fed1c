"""What tests of whole ``align`` runs share: pictures on disk, settings, a progress that remembers what was said."""

from pathlib import Path
from typing import Any

from data.training_pairs import picture
from PIL import Image

from medpo_cli.io.context import Silent
from medpo_cli.schema.config import AlignConfig
from medpo_cli.schema.records import ImageRef


class Lines(Silent):
    """Keeps notes and warnings."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.warnings: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)

    def warn(self, message: str) -> None:
        self.warnings.append(message)


def write_pictures(folder: Path) -> None:
    """The pictures a.png to g.png that the pairs name."""
    for name in "abcdefg":
        Image.fromarray(picture(ImageRef(path=f"{name}.png"))).save(folder / f"{name}.png")


def config(root: Path, **changes: Any) -> AlignConfig:
    """Settings of a short run of the tiny LLaVA under ``root``."""
    settings = {"model": str(root / "llava"), "batch": 2, "rank": 4, "lr": 1e-2, "device": "cpu", "curves": False}
    return AlignConfig(**settings | changes)
