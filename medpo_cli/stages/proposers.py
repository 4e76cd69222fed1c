"""Language models that propose edits: a server, or a local model; see ``text.proposals``."""

from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from medpo_cli.errors import ConfigError
from medpo_cli.schema.config import EditConfig
from medpo_cli.stages.replies import KeptReplies
from medpo_cli.text.exchange import Asked
from medpo_cli.text.proposals import PROMPT_VERSION, read_choice

if TYPE_CHECKING:
    from medpo_cli.models.base import VisionLanguageModel
    from medpo_cli.models.endpoint import Endpoint

MAX_TOKENS = 512


class Proposer(Protocol):
    """What proposes edits."""

    name: str
    """Model name, for records."""
    parallel: bool
    """Whether several threads may ask at once."""

    def write(self, asked: Asked) -> str:
        """A free reply; RecordError if there is none."""

    def choose(self, asked: Asked, options: int) -> int:
        """One of ``options`` numbers; RecordError if there is none."""


class RemoteProposer:
    """An OpenAI-compatible server."""

    parallel = True

    def __init__(self, endpoint: "Endpoint") -> None:
        self._endpoint = endpoint
        self.name = endpoint.model

    def write(self, asked: Asked) -> str:
        """The server's reply, held to the schema where it can."""
        return self._endpoint.reply(asked.instructions, asked.data, asked.schema, MAX_TOKENS)

    def choose(self, asked: Asked, options: int) -> int:
        """The number in its reply."""
        return read_choice(self.write(asked), options)


class LocalProposer:
    """A local model folder: free replies are greedy, a choice is the likeliest of the numbers offered."""

    parallel = False

    def __init__(self, vlm: "VisionLanguageModel") -> None:
        self._vlm = vlm
        self.name = f"{vlm.name}@{vlm.digest[:16]}"

    def write(self, asked: Asked) -> str:
        """The greedy reply."""
        from medpo_cli.models.generate import Request, generate
        from medpo_cli.schema.records import Decoding

        found = generate(self._vlm, [Request(_prompt(asked), ())], Decoding(max_tokens=MAX_TOKENS))
        return found[0][0].text

    def choose(self, asked: Asked, options: int) -> int:
        """The reply ``{"choice": k}`` with the highest log-probability; only those can be chosen."""
        from medpo_cli.models.score import answer_logprobs

        items = [(_prompt(asked), (), f'{{"choice": {number}}}') for number in range(options)]
        scores = [float(logprobs.sum()) for logprobs in answer_logprobs(self._vlm, items)]
        return max(range(options), key=lambda number: (scores[number], -number))


class CachedProposer:
    """Keeps free replies and choices on disk, by the hash of all that they depend on.

    Replies hold words of reports, so the folder is only for its owner (mode 700, files 600).

    Raises:
        OutputError: the folder cannot be used.
    """

    def __init__(self, inner: Proposer, folder: Path) -> None:
        self._inner, self._kept = inner, KeptReplies(folder)
        self.name, self.parallel = inner.name, inner.parallel

    def write(self, asked: Asked) -> str:
        """The kept reply, else a new one."""
        key = self._key("write", asked)
        reply = self._kept.get(key)
        if reply is None:
            reply = self._inner.write(asked)
            self._kept.put(key, reply)
        return reply

    def choose(self, asked: Asked, options: int) -> int:
        """The kept choice, else a new one."""
        key = self._key("choose", asked)
        try:
            kept = int(self._kept.get(key) or "")
        except ValueError:
            kept = -1
        if not 0 <= kept < options:
            kept = self._inner.choose(asked, options)
            self._kept.put(key, str(kept))
        return kept

    def _key(self, kind: str, asked: Asked) -> tuple[str, ...]:
        return PROMPT_VERSION, self.name, kind, asked.instructions, asked.data


def open_proposer(config: EditConfig) -> Proposer | None:
    """What ``config.editor`` names; None for rules alone.

    Raises:
        ConfigError: a setting is missing.
        UnavailableError: no usable model or server.
    """
    if config.editor == "rules":
        return None
    proposer: Proposer
    if config.editor == "http":
        if not config.endpoint:
            raise ConfigError("editor http needs --endpoint URL")
        from medpo_cli.models.endpoint import Endpoint

        allowed = config.allow_public_endpoint
        proposer = RemoteProposer(Endpoint(config.endpoint, config.endpoint_model, allow_public=allowed))
    else:
        if not config.model:
            raise ConfigError("editor hf needs --model FOLDER")
        from medpo_cli.models.load import load_configured

        proposer = LocalProposer(load_configured(config))
    return CachedProposer(proposer, Path(config.cache)) if config.cache else proposer


def _prompt(asked: Asked) -> str:
    return f"{asked.instructions}\n\n{asked.data}"
