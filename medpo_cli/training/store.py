"""What a frozen policy said about rows of tokens, kept by content: in memory, and on disk if asked.

On disk a store is a folder of safetensors files, each with the rows of one sitting. Files appear whole (a
temporary name, then one rename) and are only ever added, so that runs side by side and runs that are killed
leave nothing half written. A damaged file is passed over: its rows are computed again.
"""

from pathlib import Path

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from medpo_cli.io.files import atomic_path, short_hash

FLUSH_BYTES = 64 * 2**20


class RowStore:
    """Log-probabilities and states by key.

    Args:
        limit: bytes kept in memory. When they are full nothing more is taken in, so that what a resumed run finds
            there is a function of the records alone.
        folder: where rows also lie on disk; None: nowhere.
    """

    def __init__(self, limit: int, folder: Path | None = None) -> None:
        self.limit, self.folder = limit, folder
        self.size = 0
        self._kept: dict[str, tuple[Tensor, Tensor]] = {}
        self._new: dict[str, tuple[Tensor, Tensor]] = {}
        self._new_bytes = 0
        self._files: dict[str, Path] = {} if folder is None else _keys_in(folder)

    @property
    def used(self) -> bool:
        """Whether anything is ever kept."""
        return self.limit > 0 or self.folder is not None

    def get(self, key: str) -> tuple[Tensor, Tensor] | None:
        """Log-probabilities ``[P]`` and states ``[K, H]`` of a row, on the CPU; None if they are not known."""
        if key in self._kept:
            return self._kept[key]
        if key in self._new:
            return self._new[key]
        if key not in self._files:
            return None
        try:
            with safe_open(self._files[key], framework="pt") as file:
                found = file.get_tensor(f"{key}/logprobs"), file.get_tensor(f"{key}/states")
        except (OSError, SafetensorError):
            del self._files[key]
            return None
        self._remember(key, found)
        return found

    def put(self, key: str, logprobs: Tensor, states: Tensor) -> None:
        """Keep a row."""
        if not self.used:
            return
        row = logprobs.cpu().clone(), states.cpu().clone()
        self._remember(key, row)
        if self.folder is not None and key not in self._files:
            self._new_bytes += 0 if key in self._new else _bytes(row)
            self._new[key] = row
            if self._new_bytes > FLUSH_BYTES:
                self.flush()

    def flush(self) -> None:
        """Write what is new.

        Raises:
            CannotCreateError, OutputError: the disk refuses.
        """
        if self.folder is None or not self._new:
            return
        parts = ("logprobs", "states")
        tensors = {
            f"{key}/{part}": value.contiguous()
            for key, row in self._new.items()
            for part, value in zip(parts, row, strict=True)
        }
        target = self.folder / f"rows-{short_hash(*sorted(self._new))}.safetensors"
        with atomic_path(target) as temporary:
            save_file(tensors, temporary)
        self._files |= dict.fromkeys(self._new, target)
        self._new.clear()
        self._new_bytes = 0

    def _remember(self, key: str, row: tuple[Tensor, Tensor]) -> None:
        if key not in self._kept and self.size + _bytes(row) <= self.limit:
            self._kept[key] = row
            self.size += _bytes(row)


def _bytes(row: tuple[Tensor, Tensor]) -> int:
    return sum(part.nbytes for part in row)


def _keys_in(folder: Path) -> dict[str, Path]:
    """Keys of all rows on disk with their files."""
    found: dict[str, Path] = {}
    for path in sorted(folder.glob("rows-*.safetensors")):
        try:
            with safe_open(path, framework="pt") as file:
                found |= {name.partition("/")[0]: path for name in file.keys()}
        except (OSError, SafetensorError):
            continue
    return found
