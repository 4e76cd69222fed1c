"""``medpo sample``: the policy's own answers to each case."""

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from medpo_cli.errors import ConfigError, RecordError
from medpo_cli.io.context import Context
from medpo_cli.schema.config import SampleConfig
from medpo_cli.schema.records import Case, Decoding, ImageRef, Policy, Response, Sample

if TYPE_CHECKING:
    from medpo_cli.models.base import VisionLanguageModel
    from medpo_cli.models.endpoint import Endpoint

KEPT_VIEWS = 8
MAX_CONNECTIONS = 32


@dataclass(frozen=True)
class Question:
    """A case with its pictures, uint8 [H, W, 3] each, and the seed of its answers."""

    case: Case
    images: list[np.ndarray]
    seed: int


class Answerer(Protocol):
    """What answers questions: a local model or a server."""

    policy: Policy

    def answers(self, questions: Sequence[Question]) -> Iterable[list[Response] | RecordError]:
        """For each question in order its answers, or why there are none."""


def run(records: Iterable[Case], config: SampleConfig, context: Context) -> Iterator[Sample]:
    """Yield each case with the policy's answers, in order.

    The model is loaded (or the server asked) once the first record has arrived. Answers depend on the
    case's id, image and prompt, the model and the settings; not on ``batch``, nor on the other cases.

    Raises:
        ConfigError: settings that contradict each other.
        UnavailableError: no usable model or server.
        TryLaterError: GPU memory or the time limit ran out; what was yielded so far stands.
    """
    arriving = iter(records)
    yield from answer(iter(lambda: list(islice(arriving, config.cases_together)), []), config, context)


def answer(groups: Iterable[Sequence[Case]], config: SampleConfig, context: Context) -> Iterator[Sample]:
    """``run`` over cases that are already in groups of at most ``config.cases_together``, to be answered together."""
    decoding, views = _decoding(config), Views(context)
    answerer: Answerer | None = None
    context.progress.start("sample", context.expected)
    for cases in groups:
        context.check_time()
        answerer = answerer or open_answerer(config, decoding, context)
        questions = list(_questions(cases, config.seed, views, context))
        for question, answers in zip(questions, answerer.answers(questions), strict=True):
            if isinstance(answers, RecordError):
                context.reject(question.case.id, answers)
            else:
                yield _sample(question.case, answerer.policy, answers)
        context.progress.advance(len(cases))


class Views:
    """The pictures of image references, the last few kept: questions about one image come together."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._kept: OrderedDict[ImageRef, np.ndarray] = OrderedDict()

    def of(self, case: Case) -> list[np.ndarray]:
        """The case's pictures; raises RecordError with the field's path."""
        if not isinstance(case.image, list):
            return [self._one(case.image, "$.image")]
        return [self._one(ref, f"$.image[{number}]") for number, ref in enumerate(case.image)]

    def _one(self, ref: ImageRef, field: str) -> np.ndarray:
        from medpo_cli.imaging.window import load_view

        picture = self._kept.pop(ref, None)
        if picture is None:
            picture = load_view(ref, self._context, field)
        self._kept[ref] = picture
        if len(self._kept) > KEPT_VIEWS:
            self._kept.popitem(last=False)
        return picture


class LocalAnswerer:
    """A model on this machine."""

    def __init__(self, vlm: "VisionLanguageModel", decoding: Decoding, config: SampleConfig) -> None:
        self._vlm, self._decoding, self._batch = vlm, decoding, config.batch
        self.policy = Policy(
            model=vlm.name, digest=vlm.digest, adapter=vlm.adapter_digest, decoding=decoding, seed=config.seed
        )

    def answers(self, questions: Sequence[Question]) -> Iterable[list[Response] | RecordError]:
        """Encode one by one, so that one bad prompt costs one record; then answer together."""
        from medpo_cli.models.generate import Request, generate
        from medpo_cli.models.memory import memory_is_temporary

        results: list[list[Response] | RecordError] = []
        requests, places = [], []
        for place, question in enumerate(questions):
            prompt = question.case.prompt
            results.append([])
            try:
                encoded = self._vlm.encode_prompt(prompt, question.images)
            except RecordError as error:
                results[place] = error
            else:
                requests.append(Request(prompt, question.images, question.seed, encoded))
                places.append(place)
        with memory_is_temporary("lower --batch, or load in 4 bit (--quantize nf4)"):
            answered = generate(self._vlm, requests, self._decoding, batch=self._batch)
        for place, answers in zip(places, answered, strict=True):
            results[place] = answers
        return results


class RemoteAnswerer:
    """An OpenAI-compatible server; the whole batch is asked at once and answered in order."""

    def __init__(self, endpoint: "Endpoint", decoding: Decoding, config: SampleConfig) -> None:
        self._endpoint, self._decoding = endpoint, decoding
        self._connections = min(config.batch, MAX_CONNECTIONS)
        self.policy = Policy(model=endpoint.model, digest="endpoint:unknown", decoding=decoding, seed=config.seed)

    def answers(self, questions: Sequence[Question]) -> Iterable[list[Response] | RecordError]:
        """One request for each answer, at most ``batch`` at a time."""
        with ThreadPoolExecutor(self._connections) as pool:
            yield from pool.map(self._answer, questions)

    def _answer(self, question: Question) -> list[Response] | RecordError:
        try:
            return self._endpoint.answers(question.case.prompt, question.images, self._decoding, question.seed)
        except RecordError as error:
            return error


def open_answerer(config: SampleConfig, decoding: Decoding, context: Context) -> Answerer:
    """Load the model folder in ``config.model``, or reach ``config.endpoint``."""
    if config.endpoint:
        from medpo_cli.models.endpoint import Endpoint

        endpoint = Endpoint(config.endpoint, config.endpoint_model, allow_public=config.allow_public_endpoint)
        return RemoteAnswerer(endpoint, decoding, config)
    from medpo_cli.models.folder import check_model_folder

    check_model_folder(Path(config.model))  # before the seconds that the libraries take to import
    from medpo_cli.models.load import load_configured

    vlm = load_configured(config)
    context.facts |= vlm.facts
    context.progress.note(f"model {vlm.name} on {vlm.device}")
    return LocalAnswerer(vlm, decoding, config)


def _decoding(config: SampleConfig) -> Decoding:
    if config.n > 1 and config.temperature == 0:
        raise ConfigError("n above 1 needs a temperature above 0: greedy answers are all the same")
    if config.endpoint and (config.adapter or config.quantize != "none"):
        raise ConfigError("adapter and quantize are for a local model: the endpoint serves what it has loaded")
    return Decoding(temperature=config.temperature, top_p=config.top_p, max_tokens=config.max_tokens, n=config.n)


def _questions(cases: Sequence[Case], seed: int, views: Views, context: Context) -> Iterator[Question]:
    from medpo_cli.models.seeds import derive_seed

    for case in cases:
        try:
            yield Question(case, views.of(case), derive_seed(seed, case.id))
        except RecordError as error:
            context.reject(case.id, error)


def _sample(case: Case, policy: Policy, responses: list[Response]) -> Sample:
    fields = {name: getattr(case, name) for name in Case.__struct_fields__}
    return Sample(**fields, policy=policy, responses=responses)
