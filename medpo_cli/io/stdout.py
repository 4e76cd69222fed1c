"""Standard output belongs to records: a guard that keeps everything else out.

Libraries print: from Python, from C, from child processes. File descriptor 1 is therefore pointed
at standard error for the life of the process, and records go to a private duplicate.
"""

import os
import sys
from typing import BinaryIO


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
