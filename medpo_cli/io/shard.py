"""Which part of its input a run works on: every N-th block of usable records."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Shard:
    """One of several parts of an input.

    Attributes:
        number: from 1.
        total: how many parts there are.
        block: consecutive records that stay together. What a stage computes together must be one block:
            the last bits of its numbers depend on who is in the batch.
    """

    number: int = 1
    total: int = 1
    block: int = 1

    @classmethod
    def named(cls, name: str, block: int) -> "Shard":
        """From ``I/N``; empty: the whole input."""
        number, _, total = name.partition("/")
        return cls(int(number), int(total), block) if name else cls()

    def holds(self, place: int) -> bool:
        """Whether the usable record at ``place`` (from 0) is one of this part."""
        return place // self.block % self.total == self.number - 1
