"""Who waits for something that will not be read any more once the process is asked to end.

A signal unwinds the main thread, which then waits for its threads; and they for a server, for minutes. So whoever
can be waiting in a thread is told first.
"""

from typing import Protocol
from weakref import ref


class Waiting(Protocol):
    """What can wait for long, in threads of its own."""

    def give_up(self) -> None:
        """Wait no more. Called between any two lines of the main thread: takes no lock."""


_waiting: "list[ref[Waiting]]" = []


def tell_at_end(one: Waiting) -> None:
    """Have ``one`` told when a signal comes, as long as it lives."""
    _waiting[:] = [other for other in _waiting if other() is not None] + [ref(one)]


def tell() -> None:
    """A signal has come."""
    for known in _waiting:
        one = known()
        if one is not None:
            one.give_up()
