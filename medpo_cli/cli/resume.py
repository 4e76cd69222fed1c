"""``--resume`` of a stage that makes one record of each: pass over what is finished, and nothing else.

The finished records are read from the disk as the input goes by, so that a long run takes no more memory the
second time.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import msgspec

from medpo_cli.errors import ConfigError
from medpo_cli.io.output import FileOutput
from medpo_cli.io.seen import Seen
from medpo_cli.schema.records import Case, Pair, Record


@dataclass(frozen=True)
class Kept:
    """What must not have changed since the run that is gone on with.

    Attributes:
        given: what the input gave to a record: all of it but what the stage makes.
        maker: what made a record, where it names that: the policy of an answer.
    """

    given: Callable[[Any], object]
    maker: Callable[[Any], object] = lambda _record: None


def resumed(
    records: Iterator[Case],
    work: Callable[[Iterator[list[Any]]], Iterator[Record]],
    output: FileOutput,
    kept: Kept,
    *,
    where: Callable[[str], str],
    together: int = 1,
) -> Iterator[Record]:
    """The records behind those that ``output`` holds.

    Args:
        records: the whole input.
        work: the stage, over that part of the input which is not finished, in groups.
        output: the unfinished output.
        kept: what must be the same in a record of the input and the one that was made from it.
        where: file and line of an id of the input, for messages.
        together: records that the stage works on at once. They stay together, because what is computed in
            another company may differ in the last bits: of the group that was broken off all is done again. What
            was finished of it stays as it is: a server may answer otherwise the second time. What an earlier
            group lacks was rejected, and is seen again for that alone.

    Raises:
        ConfigError: the input is not the one that the output was made from, or the model is not.
    """
    ahead = _Ahead(output, kept, where)
    again: set[str] = set()

    def unfinished() -> Iterator[list[Case]]:
        while group := list(islice(records, together)):
            made = [ahead.take(record) for record in group]
            lacking = [record for record, one in zip(group, made, strict=True) if one is None]
            if lacking and not ahead.finished:
                again.update(one.id for one in made if one is not None)
                yield group
            elif lacking:
                yield lacking
        ahead.expect_nothing()

    for record in work(unfinished()):
        ahead.expect_maker(record)
        identifier = getattr(record, "id", "")
        if identifier in again:
            again.remove(identifier)
        else:
            yield record


class _Ahead:
    """The finished records in order, taken as the input meets them."""

    def __init__(self, output: FileOutput, kept: Kept, where: Callable[[str], str]) -> None:
        self._output, self._kept, self._where = output, kept, where
        self._records = output.resumed()
        self._next = next(self._records, None)
        self._first = self._next
        self._ids: Seen | None = None

    @property
    def finished(self) -> bool:
        """Whether more finished records follow."""
        return isinstance(self._next, Case)

    def take(self, record: Case) -> Case | None:
        """The finished record that was made from ``record``; None if there is none."""
        made = self._next
        if not isinstance(made, Case):
            return None
        if made.id == record.id:
            if self._kept.given(made) != self._kept.given(record):
                raise self._changed(f"{self._where(record.id)} is not what its record was made from")
            self._next = next(self._records, None)
            return made
        if self._holds(record.id):
            raise self._changed(f"{self._where(record.id)} comes too early")
        return None

    def expect_nothing(self) -> None:
        """Raise ConfigError if a finished record was never met."""
        if isinstance(self._next, Case):
            raise self._changed(f"id {self._next.id} is missing")

    def expect_maker(self, record: Record) -> None:
        """Raise ConfigError if another model made the finished records."""
        if self._first is not None and self._kept.maker(record) != self._kept.maker(self._first):
            raise self._refusal("the model has changed since the unfinished run")

    def _holds(self, identifier: str) -> bool:
        if self._ids is None:
            self._ids = Seen()
            for number, record in enumerate(self._output.resumed(), start=1):
                self._ids.add(getattr(record, "id", ""), number)
        return self._ids.line(identifier) is not None

    def _changed(self, how: str) -> ConfigError:
        return self._refusal(f"the input has changed ({how})")

    def _refusal(self, why: str) -> ConfigError:
        cure = "--force starts again, another -o leaves it as it is"
        return ConfigError(f"cannot resume {self._output.path.name}: {why}; {cure}")


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


def given_to_masks(record: Case, *, replace: bool = False) -> object:
    """All but the regions that were found, what is tied to regions, and which slice is shown.

    Found regions name their source. With ``replace`` one may stand in the place of a region that the input drew.
    """
    drawn = [] if replace else [region for region in record.regions or [] if region.source is None]
    images = [(image.path, image.sha256, image.window) for image in record.images]
    spans = [msgspec.structs.replace(span, regions=None) for span in record.spans] if isinstance(record, Pair) else []
    untied = {"spans": spans} if spans else {}
    return msgspec.structs.replace(record, regions=drawn, image=[], **untied), images


def masks(*, replace: bool) -> Kept:
    """Of ``medpo masks``, with its setting ``replace``."""
    return Kept(partial(given_to_masks, replace=replace))


SAMPLE = Kept(given_to_sample, maker=lambda record: getattr(record, "policy", None))
CORRUPT = Kept(given_to_corrupt)
