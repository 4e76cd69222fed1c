"""What ``medpo doctor`` says: one entry for each thing that it looked at."""

from typing import Literal

import msgspec

from medpo_cli.errors import ExitCode


class Diagnosis(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing that was looked at.

    Attributes:
        area: heading that it stands under.
        subject: what was looked at, in a word or two; stable, for scripts.
        state: ``ok``; ``note``: nothing is wrong, but something is left out; ``warning``: works, worse than it
            could; ``error``: some stage will fail.
        text: what was found.
        cure: what to do about it; every state but ``ok`` has one.
        code: of an error, the exit code that a stage would end with.
    """

    area: str
    subject: str
    state: Literal["ok", "note", "warning", "error"]
    text: str
    cure: str = ""
    code: int = int(ExitCode.DONE)


def ok(area: str, subject: str, text: str) -> Diagnosis:
    """Nothing to do."""
    return Diagnosis(area=area, subject=subject, state="ok", text=text)


def note(area: str, subject: str, text: str, cure: str) -> Diagnosis:
    """Something is left out."""
    return Diagnosis(area=area, subject=subject, state="note", text=text, cure=cure)


def warning(area: str, subject: str, text: str, cure: str) -> Diagnosis:
    """Works, worse than it could."""
    return Diagnosis(area=area, subject=subject, state="warning", text=text, cure=cure)


def error(area: str, subject: str, text: str, cure: str, code: int = ExitCode.UNAVAILABLE) -> Diagnosis:
    """Some stage will fail with ``code``."""
    return Diagnosis(area=area, subject=subject, state="error", text=text, cure=cure, code=int(code))
