"""Every error medpo raises on purpose; each class owns one exit code.

    MedpoError                 70  internal error (a bug)
    ├── UsageError              2  the command line is wrong
    ├── BadInputError          65  bad or cut-off input
    ├── NoInputError           66  no such input
    ├── UnavailableError       69  model, GPU or package missing
    ├── CannotCreateError      73  output exists or cannot be created
    ├── OutputError            74  I/O error, disk full
    ├── TryLaterError          75  lock held, memory, time limit with state saved
    ├── ConfigError            78  bad configuration
    └── RecordError            65  one record is bad: becomes a reject record, the run goes on

Messages never hold record text (prompts, answers, references, DICOM values): they name the file,
line, id, JSON path and cause only.
"""

from enum import IntEnum


class ExitCode(IntEnum):
    """The exit codes of contract section 3 (sysexits.h where one fits)."""

    DONE = 0
    USAGE = 2
    REJECTS = 3
    BAD_INPUT = 65
    NO_INPUT = 66
    UNAVAILABLE = 69
    INTERNAL = 70
    CANNOT_CREATE = 73
    IO_ERROR = 74
    TRY_LATER = 75
    CONFIG = 78
    SIGHUP = 129
    SIGINT = 130
    SIGPIPE = 141
    SIGTERM = 143


class MedpoError(Exception):
    """Base of all errors raised on purpose; ``code`` is the process exit code."""

    code: ExitCode = ExitCode.INTERNAL


class UsageError(MedpoError):
    """The command line is wrong."""

    code = ExitCode.USAGE


class BadInputError(MedpoError):
    """The input is malformed, or was cut off before its end record."""

    code = ExitCode.BAD_INPUT


class NoInputError(MedpoError):
    """A named input does not exist."""

    code = ExitCode.NO_INPUT


class UnavailableError(MedpoError):
    """A model, a GPU or an optional package is missing; the message names the cure."""

    code = ExitCode.UNAVAILABLE


class CannotCreateError(MedpoError):
    """An output exists already or its folder cannot be written."""

    code = ExitCode.CANNOT_CREATE


class OutputError(MedpoError):
    """Writing failed midway: disk full, I/O error."""

    code = ExitCode.IO_ERROR


class TryLaterError(MedpoError):
    """Nothing is wrong, but not now: lock held, out of memory, time limit reached."""

    code = ExitCode.TRY_LATER


class ConfigError(MedpoError):
    """A configuration file, variable or option holds a bad value."""

    code = ExitCode.CONFIG


class RecordError(MedpoError):
    """One record cannot be used.

    Args:
        reason: short stable code for the reject record, for example ``mask-empty``.
        message: one sentence without record text.
        path: JSON path of the offending field, for example ``$.regions[0].mask``.
    """

    code = ExitCode.BAD_INPUT

    def __init__(self, reason: str, message: str, path: str | None = None) -> None:
        super().__init__(message)
        self.reason = reason
        self.message = message
        self.path = path
