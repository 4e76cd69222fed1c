"""Chat templates: small programs that a model folder brings.

They run in transformers' sandbox, which keeps them from Python's objects. Here they also get an end: a loop without
one is stopped, and so is everything else that a template can do wrong, with the name of the cure.
"""

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, TemplateError

from medpo_cli.errors import UnavailableError
from medpo_cli.models.limits import TooLongError, time_limit

SECONDS = 10.0
"""Processor time for one rendering; real templates take about a millisecond."""
LONGEST = 2**20
"""Characters; the longest known ones have some ten thousand."""
CURE = "put chat_template.jinja of the original model into the folder"


def check_template(template: str | Mapping[str, str]) -> None:
    """Refuse a template before any of it runs.

    Args:
        template: one, or several by name.

    Raises:
        UnavailableError: it is too long, is no template, or has powers: one such number is a calculation that
            nothing can interrupt, and no conversation needs one.
    """
    for one in template.values() if isinstance(template, Mapping) else [template]:
        if not isinstance(one, str) or len(one) > LONGEST:
            raise UnavailableError(f"the chat template is no text of up to {LONGEST} characters: {CURE}")
        try:
            tokens = [(kind, value) for _, kind, value in Environment(autoescape=False).lex(one)]  # noqa: S701
        except TemplateError:
            raise UnavailableError(f"the chat template is not valid Jinja: {CURE}") from None
        if ("operator", "**") in tokens:
            raise UnavailableError(f"the chat template calculates powers, which no conversation needs: {CURE}")


def render(processor: Any, turns: list[dict[str, Any]], *, add_generation_prompt: bool = False) -> str:
    """The text of a conversation.

    Args:
        processor: of transformers, with a chat template.
        turns: messages with a role and a list of contents.
        add_generation_prompt: end with what comes before an answer.

    Raises:
        UnavailableError: the template fails, asks for what the sandbox forbids, or takes more than ``SECONDS``.
    """
    try:
        with time_limit(SECONDS):
            text = processor.apply_chat_template(turns, add_generation_prompt=add_generation_prompt, tokenize=False)
    except TooLongError:
        raise UnavailableError(f"the chat template does not end ({SECONDS:g} s of processor time): {CURE}") from None
    except MemoryError:
        raise UnavailableError(f"the chat template takes more memory than there is: {CURE}") from None
    except Exception as error:  # whatever a template makes the sandbox or the library raise
        raise UnavailableError(f"the chat template cannot be used ({type(error).__name__}): {CURE}") from None
    if not isinstance(text, str):
        raise UnavailableError(f"the chat template writes no text: {CURE}")
    return text
