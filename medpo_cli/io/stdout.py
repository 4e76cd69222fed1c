"""Standard output belongs to records: a guard that keeps everything else out.

Libraries print: from Python, from C, from child processes. File descriptor 1 is therefore pointed
at standard error for the life of the process, and records go to a private duplicate.
"""

import os
import sys
from typing import BinaryIO


def open_standard_streams() -> None:
    """Give file descriptors that the caller closed (``>&-``) something to stand on.

    Otherwise the next file to be opened becomes "standard output" and libraries print into it.
    Standard output is opened for reading only: writing records to it fails, as it should.
    """
    modes = {"stdin": os.O_RDONLY, "stdout": os.O_RDONLY, "stderr": os.O_WRONLY}
    for number, (name, mode) in enumerate(modes.items()):
        if getattr(sys, name) is None:
            null = os.open(os.devnull, mode)
            if null != number:
                os.dup2(null, number)
                os.close(null)
            setattr(sys, name, os.fdopen(number, "r" if number == 0 else "w", encoding="utf-8", closefd=False))


def guard_stdout() -> BinaryIO:
    """Point file descriptor 1 at stderr and return the real standard output, unbuffered for records."""
    sys.stdout.flush()
    private = os.dup(1)
    os.set_inheritable(private, False)
    os.dup2(2, 1)
    return os.fdopen(private, "wb")


def silence_broken_pipe() -> None:
    """After the reader has gone: keep the interpreter's last flush from complaining."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)
