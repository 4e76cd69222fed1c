"""What a finder of masks is, and what it gives."""

from dataclasses import dataclass
from typing import Protocol

from medpo_cli.imaging.image import Mask
from medpo_cli.imaging.mask_command import Asked
from medpo_cli.schema.records import Case


@dataclass(frozen=True)
class Found:
    """A mask on the image's grid, or the reason (``status``) why there is none."""

    status: str
    mask: Mask | None = None
    score: float | None = None


class Finder(Protocol):
    """What finds masks.

    Attributes:
        circular: the policy itself points; see ``records.Region``.
    """

    circular: bool

    @property
    def source(self) -> str:
        """Who it is, for the record."""

    def find(self, case: Case, asked: Asked) -> Found:
        """The mask of a target; raises RecordError where the finder or its mask is at fault."""

    def close(self) -> None:
        """End it."""
