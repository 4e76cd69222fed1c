"""Which tool runs what: the table of variants, and the work folder with models and data."""

import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from workload.process import own


@dataclass(frozen=True)
class Variant:
    """One line of the comparison.

    Attributes:
        title: what the table says.
        tool: ``naive``, ``medpo``, or a peer.
        options: fields of the child's job.
        batch: pairs in a step; 0: the driver's.
        questions: pairs about one image.
        share_corrupted: they share the corrupted image too.
    """

    title: str
    tool: str
    options: dict[str, Any] = field(default_factory=dict)
    batch: int = 0
    questions: int = 1
    share_corrupted: bool = False


BOTH = ["reference", "features"]
FIRE: dict[str, Any] = {"method": "fire-mpo", "cached": []}
VARIANTS = {
    "naive-checkpointing": Variant("naive, checkpointing", "naive", {"checkpointing": True}),
    "naive": Variant("naive", "naive", {"checkpointing": False}),
    "medpo": Variant("medpo fire-mpo, nothing cached", "medpo", FIRE),
    "medpo-reference": Variant("medpo fire-mpo, reference cached", "medpo", FIRE | {"cached": ["reference"]}),
    "medpo-cached": Variant("medpo fire-mpo, reference + features cached", "medpo", FIRE | {"cached": BOTH}),
    "medpo-v": Variant("the same, 8 questions share v", "medpo", FIRE | {"cached": BOTH}, 8, 8),
    "medpo-vv": Variant("the same, 8 questions share v and v'", "medpo", FIRE | {"cached": BOTH}, 8, 8, True),
    "medpo-dpo": Variant("medpo dpo, nothing cached", "medpo", {"method": "dpo", "cached": []}),
    "medpo-dpo-cached": Variant("medpo dpo, reference + features cached", "medpo", {"method": "dpo", "cached": BOTH}),
    "ms-swift": Variant("ms-swift 4.6 dpo", "ms-swift"),
    "llamafactory": Variant("LLaMA-Factory 0.9.5 dpo", "llamafactory"),
    "trl": Variant("TRL 1.16 dpo", "trl"),
}


class Workspace:
    """Models and data under one folder, each written once.

    Args:
        folder: where; may be kept for the next run.
        device: ``cpu`` or ``cuda``: where random weights are drawn.
    """

    def __init__(self, folder: Path, device: str) -> None:
        self.folder, self.device = folder.resolve(), device
        self.folder.mkdir(parents=True, exist_ok=True)

    def model(self, name: str, vocabulary: int = 0) -> Path:
        """Folder of the model, with another vocabulary size if given."""
        folder = self.folder / (f"{name}-v{vocabulary}" if vocabulary else name)
        job = {"what": "model", "name": name, "vocabulary": vocabulary, "device": self.device}
        return self._once(folder, job)

    def data(self, name: str, model: Path, kind: str, records: int, questions: int, share_corrupted: bool) -> Path:
        """Folder of ``records`` pairs with pictures of the model's size."""
        folder = self.folder / f"{name}-{kind}-{records}-{questions}{'-shared' if share_corrupted else ''}"
        job = {"what": "data", "name": name, "model": str(model), "kind": kind, "records": records}
        return self._once(folder, job | {"questions": questions, "share_corrupted": share_corrupted})

    def scratch(self, name: str) -> Path:
        """An empty folder for one child of this driver."""
        folder = self.folder / f"scratch-{os.getpid()}" / name
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        return folder

    def _once(self, folder: Path, job: dict[str, Any]) -> Path:
        if not folder.exists():
            half = folder.with_name(folder.name + ".half")
            shutil.rmtree(half, ignore_errors=True)
            own("workload/prepare.py", job | {"folder": str(half)}, log=self.folder / "prepare.log")
            half.rename(folder)
        return folder
