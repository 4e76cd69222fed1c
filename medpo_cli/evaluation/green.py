"""GREEN (Ostmeier 2024) from the words of its model: matched / (matched + clinically significant errors).

The model lists errors under six letters, each as ``(a) False report of a finding: 2. ...``, and matched findings as
``3. ...``. medpo reads that text; the model itself runs in a program of the user's.
"""

import re

_SECTION = re.compile(r"\[([^\]\n]+)\]:")
_ERRORS = re.compile(r"\(([a-f1-6])\)[^\n]*?: (\d+)\.")
_MATCHED = re.compile(r"(\d+)\.")


def green_score(text: str) -> float | None:
    """The score of one analysis, 0 to 1; None where it does not have the sections that GREEN's model writes.

    Without a matched finding it is 0. Insignificant errors do not count. A letter that occurs twice counts as said
    last, as in GREEN's own code; unlike there, a missing section is no zero.
    """
    sections = _sections(text)
    errors, matched = sections.get("Clinically Significant Errors"), sections.get("Matched Findings")
    if errors is None or matched is None:
        return None
    found = _MATCHED.match(matched)
    count = int(found[1]) if found else 0
    wrong = sum({letter: int(number) for letter, number in _ERRORS.findall(errors)}.values())
    return count / (count + wrong) if count else 0.0


def _sections(text: str) -> dict[str, str]:
    pieces = _SECTION.split(text)
    return {name: body.strip() for name, body in zip(pieces[1::2], pieces[2::2], strict=True)}
