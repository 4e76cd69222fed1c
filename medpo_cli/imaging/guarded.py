"""The process behind ``guard``: limits first, then one file after another until the other side hangs up.

python -P -m medpo_cli.imaging.guarded BYTES     (with a socket as standard input)
"""

import contextlib
import hashlib
import math
import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import msgspec

from medpo_cli.errors import RecordError
from medpo_cli.imaging import wire
from medpo_cli.imaging.image import Array, Image

GRACE = 5
"""Seconds after which it ends itself: the other side would have ended it before, were it still there."""

Answer = tuple[wire.Reply, Image | None]


def main() -> None:
    """Answer questions."""
    limit(int(sys.argv[1]))
    with socket.socket(fileno=os.dup(0)) as line:
        nothing = os.open(os.devnull, os.O_RDWR)
        for stream in (0, 1):
            os.dup2(nothing, stream)  # What a library prints would be taken for an answer.
        wire.send(line, "ready")
        with contextlib.suppress(wire.BrokenError, OSError):
            while True:
                _serve(line, wire.receive(line, wire.Question))


def limit(memory: int) -> None:
    """No more address space than ``memory``, no core dump (it would hold pixels), and the first to go."""
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with contextlib.suppress(OSError):  # Only Linux has this file.
        Path("/proc/self/oom_score_adj").write_text("1000")


def _serve(line: socket.socket, question: wire.Question) -> None:
    # The default action of SIGALRM ends the process even inside native code that never returns.
    signal.alarm(math.ceil(question.seconds) + GRACE)
    reply, image = answer(question)
    signal.alarm(0)
    arrays: list[Array] = []
    if image is not None:
        arrays = [image.array] if image.padding is None else [image.array, image.padding]
    wire.send(line, reply, *arrays)


def answer(question: wire.Question) -> Answer:
    """What the task makes of the file, or why it makes nothing."""
    try:
        return _TASKS[question.task](*(Path(os.fsdecode(path)) for path in question.paths))
    except RecordError as error:
        refusal = error
    except MemoryError:
        refusal = RecordError("decode-memory", "reading the file takes more memory than a file may")
    except BaseException:
        # Codecs written in Rust panic past Exception; messages quote the file.
        refusal = RecordError("decode", "the file cannot be decoded")
    return wire.Reply(refusal=(refusal.reason, refusal.message, refusal.path)), None


def _image(path: Path) -> Answer:
    from medpo_cli.imaging import read

    source = read.load(path)
    return wire.Reply(sha256=source.sha256, image=wire.shown(source.image)), source.image


def _unmarked_bytes(path: Path) -> bytes:
    from medpo_cli.imaging import phi

    return phi.without_mark(path.read_bytes())


def _unmarked(path: Path) -> Answer:
    from medpo_cli.imaging import read

    image = read.decode(_unmarked_bytes(path), path)
    return wire.Reply(image=wire.shown(image)), image


def _series(*paths: Path, load: Callable[[Path], bytes] = Path.read_bytes) -> Answer:
    from medpo_cli.imaging import series

    image, sha256 = series.read_series(list(paths), load)
    return wire.Reply(sha256=sha256, image=wire.shown(image)), image


def _header(path: Path) -> Answer:
    from medpo_cli.imaging import phi

    return wire.Reply(value=msgspec.msgpack.encode(phi.load_header(path))), None


def _marks(path: Path) -> Answer:
    from medpo_cli.imaging import marks, read

    data = read.bytes_of(path)
    found, array = marks.decode(data)
    image = Image(array=array, kind="dicom")
    value = msgspec.msgpack.encode(found)
    if len(value) > wire.MAX_HEAD // 2:
        raise RecordError("too-large", "the file marks more planes or contours than one message can list")
    return wire.Reply(sha256=hashlib.sha256(data).hexdigest(), image=wire.shown(image), value=value), image


_TASKS: dict[wire.Task, Callable[..., Answer]] = {
    "image": _image,
    "unmarked": _unmarked,
    "series": _series,
    "unmarked-series": partial(_series, load=_unmarked_bytes),
    "header": _header,
    "marks": _marks,
}

if __name__ == "__main__":
    main()
