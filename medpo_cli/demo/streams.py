"""Random numbers by hashing: the same bytes on every machine, whatever numpy's version."""

import hashlib
from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import numpy.typing as npt

Choice = TypeVar("Choice")


class Stream:
    """An independent stream of random numbers named by its key.

    Args:
        key: anything that names the stream; two different keys give independent streams.
    """

    def __init__(self, *key: str | int) -> None:
        self.key = "\x1f".join(map(str, key)).encode()
        self._block = 0
        self._pool: list[int] = []

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        """A number in [low, high)."""
        if not self._pool:
            digest = hashlib.blake2b(self.key, salt=self._block.to_bytes(8, "little")).digest()
            self._pool = [int.from_bytes(digest[i : i + 8], "little") for i in range(0, 64, 8)]
            self._block += 1
        return low + (high - low) * (self._pool.pop() >> 11) * 2.0**-53

    def chance(self, probability: float) -> bool:
        """True with the given probability."""
        return self.uniform() < probability

    def choice(self, options: Sequence[Choice]) -> Choice:
        """One of ``options``, all equally likely."""
        return options[int(self.uniform() * len(options))]

    def normals(self, *shape: int) -> npt.NDArray[np.float32]:
        """Approximately normal numbers, mean 0, sd 1: the scaled sum of four random bytes each."""
        count = int(np.prod(shape))
        raw = np.frombuffer(hashlib.shake_128(self.key).digest(4 * count), np.uint8)
        total = raw.reshape(4, count).sum(axis=0, dtype=np.int32)
        scaled: npt.NDArray[np.float32] = ((total - 510) * np.float32(1 / 147.80)).astype(np.float32)
        return scaled.reshape(shape)
