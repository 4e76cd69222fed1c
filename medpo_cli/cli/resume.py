"""``--resume`` of a stage that makes one record of each: pass over what is finished, and nothing else.

The finished records are read from the disk as the input goes by, so that a long run takes no more memory the
second time.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import msgspec

from medpo_cli.errors import ConfigError
from medpo_cli.io.output import FileOutput
from medpo_cli.io.seen import Seen
from medpo_cli.io.stream import encode
from medpo_cli.schema.records import Case, Pair, Record

Given = Callable[[Any], object]
"""What a record was given by the input: all of it but what the stage makes."""


def resumed(
    records: Iterator[Case],
    work: Callable[[Iterator[Any]], Iterator[Record]],
    output: FileOutput,
    given: Given,
    together: int = 1,
) -> Iterator[Record]:
    """The records behind those that ``output`` holds.

    Args:
        records: the whole input.
        work: the stage, over that part of the input which is not finished.
        output: the unfinished output.
        given: what must be the same in a record of the input and the one that was made from it.
        together: records that the stage works on at once. They stay together, because what is computed in
            another company may differ in the last bits: of a group that was broken off all is done again.

    Raises:
        ConfigError: the input is not the one that the output was made from.
    """
    ahead = _Ahead(output, given)
    again: dict[str, bytes] = {}

    def unfinished() -> Iterator[Case]:
        while group := list(islice(records, together)):
            found = [ahead.take(record) for record in group]
            if not all(found):
                again.update({record.id: encode(record) for record in found if record is not None})
                yield from group
        ahead.expect_nothing()

    for record in work(unfinished()):
        line = again.pop(getattr(record, "id", ""), None)
        if line is None:
            yield record
        elif encode(record) != line:
            raise ConfigError(f"cannot resume {output.path.name}: a finished record comes out otherwise now")


class _Ahead:
    """The finished records in order, taken as the input meets them."""

    def __init__(self, output: FileOutput, given: Given) -> None:
        self._output, self._given = output, given
        self._records = output.resumed()
        self._next = next(self._records, None)
        self._ids: Seen | None = None

    def take(self, record: Case) -> Case | None:
        """The finished record that was made from ``record``; None if there is none."""
        made = self._next
        if not isinstance(made, Case):
            return None
        if made.id == record.id:
            if self._given(made) != self._given(record):
                raise self._changed(f"id {record.id} is not what its record was made from")
            self._next = next(self._records, None)
            return made
        if self._holds(record.id):
            raise self._changed(f"id {record.id} comes too early")
        return None

    def expect_nothing(self) -> None:
        """Raise ConfigError if a finished record was never met."""
        if isinstance(self._next, Case):
            raise self._changed(f"id {self._next.id} is missing")

    def _holds(self, identifier: str) -> bool:
        if self._ids is None:
            self._ids = Seen()
            for number, record in enumerate(self._output.resumed(), start=1):
                self._ids.add(getattr(record, "id", ""), number)
        return self._ids.line(identifier) is not None

    def _changed(self, how: str) -> ConfigError:
        name = self._output.path.name
        return ConfigError(f"cannot resume {name}: the input has changed ({how}); --force starts again")


def given_to_sample(record: Case) -> object:
    """All of a case: an answer is added to it."""
    return [getattr(record, name) for name in Case.__struct_fields__]


def given_to_corrupt(record: Case) -> object:
    """All but the corrupted images and those on the way to them."""
    ext = dict(record.ext or {})
    align = ext.pop("align", None) or {}
    if isinstance(align, dict):
        align = {name: value for name, value in align.items() if name != "ladder"}
    return msgspec.structs.replace(record, corrupted=None, control=None, no_control=None, ext=ext), align


def given_to_masks(record: Case) -> object:
    """All but the regions, what is tied to them, and which slice is shown."""
    images = [(image.path, image.sha256, image.window) for image in record.images]
    spans = [msgspec.structs.replace(span, regions=None) for span in record.spans] if isinstance(record, Pair) else []
    untied = {"spans": spans} if spans else {}
    return msgspec.structs.replace(record, regions=None, image=[], **untied), images
