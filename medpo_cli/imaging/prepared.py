"""An image with what several records need of it, worked out once, and small caches of what was used last."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import TypeVar

from medpo_cli.errors import RecordError
from medpo_cli.imaging.control import forbidden_for, mirror
from medpo_cli.imaging.geometry import side_axis
from medpo_cli.imaging.ground import Ground
from medpo_cli.imaging.image import Image, Mask, content_hash
from medpo_cli.imaging.regions import box_of
from medpo_cli.imaging.window import resolve_window
from medpo_cli.schema.records import ImageRef, Window

Value = TypeVar("Value")
KEPT_IMAGES = 8
KEPT_BYTES = 2**28
KEPT_GROUNDS = 2


class Recent(OrderedDict[Hashable, Value]):
    """The values used last, one at least.

    Args:
        size: how many are kept at most.
        cost: bytes that a value takes; together they take at most ``KEPT_BYTES``.
    """

    def __init__(self, size: int, cost: Callable[[Value], int] = lambda _: 0) -> None:
        super().__init__()
        self.size = size
        self.cost = cost

    def get_or(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """Value of ``key``, made where it is not kept."""
        if key not in self:
            self[key] = make()
            while len(self) > self.size or (len(self) > 1 and sum(map(self.cost, self.values())) > KEPT_BYTES):
                self.popitem(last=False)
        self.move_to_end(key)
        return self[key]


class Prepared:
    """An image with what several records need of it, worked out once."""

    def __init__(self, image: Image) -> None:
        self.image = image
        self.content = content_hash(image)
        self._grounds: Recent[Ground] = Recent(KEPT_GROUNDS)
        self._window = resolve_window(image)

    def ground(self, region: Mask) -> Ground:
        """What a control search needs of the slices that ``region`` lies on."""
        slices = box_of(region)[2]
        return self._grounds.get_or((slices.start, slices.stop), lambda: Ground(self.image, slices))

    def window(self, ref: ImageRef) -> Window | None:
        """The window the source is seen through, which the copy cannot work out by itself."""
        return ref.window or self._window

    def symmetry(self, region: Mask, lesions: Mask | None) -> tuple[int, int]:
        """Axis and sum of mirrored indices, where the mirrored place of ``region`` may stand in for it.

        Raises:
            RecordError: ``no-mirror``: there is none, or it holds a lesion or what is not body.
        """
        ground, axis = self.ground(region), side_axis(self.image)
        total = ground.symmetry
        if total is None:
            raise RecordError("no-mirror", "the image has no left and right in its plane")
        here = region[:, :, ground.slices]
        marked = here if lesions is None else here | lesions[:, :, ground.slices]
        other = mirror(here, axis, total)
        if other is None or (other & forbidden_for(ground, marked)).any():
            raise RecordError("no-mirror", "the mirrored place holds a lesion or lies outside the body")
        return axis, total
