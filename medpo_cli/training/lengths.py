"""How long a pair may be: nothing is ever cut, because cut image tokens or spans train on something else."""

from medpo_cli.errors import RecordError
from medpo_cli.training.batches import Example

FIELDS = {
    "+": "$.chosen",
    "-": "$.rejected",
    "r": "$.reference",
    "*": "$.responses",
    "#": "$.chosen",
    "2": "$.ext.align.twin.answer",
}
"""Where the answer of a sequence stands in its record."""


def check_length(example: Example, longest: int) -> Example:
    """``example``, if no answer behind its prompt, images included, has more tokens than ``longest`` (0: no limit).

    What counts of an answer is what training reads of it: up to its last needed token.

    Raises:
        RecordError: ``overlong``, with the numbers.
    """
    for unit in example.units:
        for answer in unit.answers:
            prompt, size = len(answer.prompt.tokens.ids), len(answer.ids)
            if 0 < longest < prompt + size:
                raise RecordError(
                    "overlong",
                    f"{prompt + size} tokens ({prompt} of prompt and images) are more than {longest} (--max-length)",
                    "$.prompt" if prompt > longest else FIELDS[answer.name[-1]],
                )
    return example
