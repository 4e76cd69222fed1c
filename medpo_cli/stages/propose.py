"""Language models as editors: they propose, the checks decide, the rules stand by.

A reply that is empty, cut, malformed or fails a check is told so and asked again, twice at most; then
the rules' own edit is used. So a run never depends on what a model says, only on what holds.
"""

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

from medpo_cli.errors import RecordError
from medpo_cli.stages.proposers import Proposer
from medpo_cli.text.operations import Edited, Operation, apply
from medpo_cli.text.proposals import PROMPT_VERSION, ask_choice, ask_correction, read_corrections

RETRIES = 2
MOST_OPTIONS = 12

Check = Callable[[Edited], Edited]


Item = TypeVar("Item")


def ahead(groups: Iterable[list[Item]], consult: Callable[[Item], None], jobs: int) -> Iterator[list[Item]]:
    """The groups in order, each consulted about before it comes; ``jobs`` questions are under way at once.

    An error of ``consult`` is raised where its group would have come; what came before stands.
    """
    if jobs == 1:
        for group in groups:
            for item in group:
                consult(item)
            yield group
        return
    with ThreadPoolExecutor(jobs) as pool:
        waiting: deque[tuple[list[Item], list[Future[None]]]] = deque()
        try:
            for group in groups:
                waiting.append((group, [pool.submit(consult, item) for item in group]))
                if len(waiting) > jobs:
                    yield _done(*waiting.popleft())
            while waiting:
                yield _done(*waiting.popleft())
        finally:
            for _, futures in waiting:
                for future in futures:
                    future.cancel()


def _done(group: list[Item], futures: Sequence["Future[None]"]) -> list[Item]:
    for future in futures:
        future.result()
    return group


class Counsel:
    """Asks a proposer about one answer after the other.

    Args:
        proposer: the model.
    """

    def __init__(self, proposer: Proposer) -> None:
        self._proposer = proposer
        self.parallel = proposer.parallel
        self.source = f"llm:{proposer.name}@{PROMPT_VERSION}"
        self.version = f"{proposer.name}@{PROMPT_VERSION}"

    def corrections(self, question: str, answer: str, reference: str, check: Check) -> Edited | None:
        """Edits of a wrong answer as ``check`` gives them back (it raises RecordError); None: use the rules."""
        failed = ""
        for _ in range(RETRIES + 1):
            try:
                reply = self._proposer.write(ask_correction(question, answer, reference, failed))
                return check(apply(answer, read_corrections(reply, answer, reference, self.source)))
            except RecordError as error:
                failed = error.reason
        return None

    def choice(self, question: str, answer: str, options: Sequence[Sequence[Operation]]) -> int:
        """Which of the first ``MOST_OPTIONS`` options is the most believable error; 0 where no reply is usable."""
        offered = options[:MOST_OPTIONS]
        if len(offered) < 2:
            return 0
        asked = ask_choice(question, answer, offered)
        for _ in range(RETRIES + 1):
            try:
                return self._proposer.choose(asked, len(offered))
            except RecordError:
                continue
        return 0
