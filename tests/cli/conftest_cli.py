"""What the command-line tests share."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

MEDPO = str(Path(sys.executable).parent / "medpo")
END = '{"schema":"medpo.end/1","stage":"demo","run":"r","records":0,"rejected":0}\n'
Run = Callable[..., "subprocess.CompletedProcess[str]"]


def case(number: int, **change: object) -> str:
    """One line: a case about image ``number`` with a box around its bright spot."""
    record = {
        "schema": "medpo.case/1",
        "id": f"case-{number}",
        "image": {"path": f"images/{number}.png"},
        "prompt": "SECRET question",
        "reference": "SECRET reference",
        "task": "report",
        "group": f"g{number}",
        "regions": [{"label": "nodule", "box": [10, 12, 20, 22]}],
    }
    return json.dumps({**record, **change}) + "\n"
