"""A language model as judge: asks, tries once more, keeps what was said, and sees that it stays the same model."""

import json
import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

import msgspec

from medpo_cli.errors import ConfigError, RecordError, UnavailableError
from medpo_cli.io.context import Context
from medpo_cli.schema.config import EvalConfig
from medpo_cli.stages.replies import KeptReplies
from medpo_cli.text.exchange import Asked

if TYPE_CHECKING:
    from medpo_cli.models.endpoint import Endpoint

T = TypeVar("T", bound=msgspec.Struct)
Read = Callable[[str], T]

_TURNS = 1024
TRIES = 2
MAX_TOKENS = 512


class Heard(NamedTuple, Generic[T]):
    """What a judge said; ``value`` is None where no reply was usable, for ``reason`` (the code of the last one).

    ``reported`` is the model that the server says has said it.
    """

    value: T | None
    reason: str = ""
    reported: str = ""


class Judge:
    """Asks one server; safe to use from several threads.

    Args:
        endpoint: the server.
        seed: sent with each question; the second try sends the next one.
        kept: where verdicts are kept, if anywhere: never a reply's text, so that no words of reports are in them.
        check_time: raises TryLaterError once the time is over; called before each question.
    """

    def __init__(
        self, endpoint: "Endpoint", seed: int, kept: KeptReplies | None, check_time: Callable[[], None]
    ) -> None:
        self._endpoint, self._seed, self._kept, self._check_time = endpoint, seed, kept, check_time
        self._lock = threading.Lock()
        self._turns = [threading.Lock() for _ in range(_TURNS)]
        self._reported: str | None = None
        self.model = endpoint.model

    def hear(self, asked: Asked, read: Read[T]) -> Heard[T]:
        """The verdict on one question.

        Args:
            asked: the question.
            read: reads a reply strictly, or raises RecordError; also what it made, as JSON.

        Raises:
            UnavailableError: no usable server, or another model than before.
            TryLaterError: the time is over.
        """
        if self._kept is None:
            return self._asked(asked, read)
        key = ("judge", self.model, str(self._seed), asked.instructions, asked.data)
        # Equal questions wait for each other: asked at once they could be told differently, and only one is kept.
        with self._turns[hash(key) % _TURNS]:
            found = self._remembered(key, read)
            if found is None:
                found = self._asked(asked, read)
                value = None if found.value is None else msgspec.to_builtins(found.value)
                self._kept.put(key, json.dumps({"value": value, "reason": found.reason, "reported": found.reported}))
        return found

    def _asked(self, asked: Asked, read: Read[T]) -> Heard[T]:
        reason = ""
        for number in range(TRIES):
            self._check_time()
            try:
                told = self._endpoint.tell(
                    asked.instructions, asked.data, asked.schema, MAX_TOKENS, self._seed + number
                )
                self._same_model(told.model)
                return Heard(read(told.text), reported=told.model)
            except RecordError as error:
                reason = error.reason
        return Heard(None, reason)

    def _remembered(self, key: tuple[str, ...], read: Read[T]) -> Heard[T] | None:
        text = self._kept.get(key) if self._kept else None
        if text is None:
            return None
        try:
            kept = json.loads(text)
            value = None if kept["value"] is None else read(json.dumps(kept["value"]))
            heard = Heard(value, str(kept["reason"]), str(kept["reported"]))
        except (ValueError, KeyError, TypeError, RecordError):
            return None  # not ours, or of another version: ask again
        if value is not None:
            self._same_model(heard.reported)
        return heard

    def _same_model(self, reported: str) -> None:
        with self._lock:
            if self._reported is None:
                self._reported = reported
            if self._reported != reported:
                raise UnavailableError(
                    "the judge's verdicts come from several models: serve one, and begin with an empty --cache"
                )


def open_judge(config: EvalConfig, context: Context) -> Judge | None:
    """What ``config.judge`` names; None for none. Raises as ``reach_judge``."""
    return None if config.judge == "none" else reach_judge(config, context)


def reach_judge(config: EvalConfig, context: Context) -> Judge:
    """The judge behind ``config.endpoint``.

    Raises:
        ConfigError: no endpoint, or one with a public address.
        OutputError: the cache cannot be used.
        UnavailableError: no usable server.
    """
    if not config.endpoint:
        raise ConfigError("judge http needs --endpoint URL")
    from medpo_cli.models.endpoint import Endpoint

    endpoint = Endpoint(config.endpoint, config.endpoint_model, allow_public=config.allow_public_endpoint)
    context.facts["judge"] = endpoint.model
    kept = KeptReplies(Path(config.cache)) if config.cache else None
    return Judge(endpoint, config.seed, kept, context.check_time)
