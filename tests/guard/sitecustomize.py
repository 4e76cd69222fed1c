"""No network: the first thing that every Python process of the tests runs, children and their children too.

conftest.py puts this folder on PYTHONPATH. An audit hook sees each connection, message and look-up before it is made,
whoever asks for it, and cannot be taken off again. Loopback is open only to tests that opened a server there.
Nothing but os and sys is imported: children are timed, and what they import is counted.
"""

import os
import sys

SEEN = "TESTS_NETWORK_SEEN"
"""Variable that names the file for what was refused: code that swallows the error is caught by it."""
SERVER = "TESTS_OWN_SERVER"
"""Variable that is set once a process of the tests listens on loopback."""
INTERNET = (2, 10, 30)
"""AF_INET, and AF_INET6 on Linux and on macOS."""
NAMES = {"", "localhost", "localhost.localdomain", os.uname().nodename}


def is_loopback(host: object) -> bool:
    """Whether an address or a name means this machine alone."""
    text = str(host).removeprefix("::ffff:")
    return text in {"localhost", "::1"} or (text.startswith("127.") and text.replace(".", "").isdigit())


def is_number(host: str) -> bool:
    """Whether a host is an address, which nobody need be asked for."""
    return ":" in host or host.replace(".", "").isdigit()


def refuse(what: str) -> None:
    """Note it and raise."""
    if os.environ.get(SEEN):
        with open(os.environ[SEEN], "a", encoding="utf-8") as stream:
            stream.write(what + "\n")
    raise AssertionError(f"a test tried to reach the network: {what} (loopback is open once a test listens there)")


def watch(event: str, arguments: tuple[object, ...]) -> None:
    """The audit hook."""
    if not event.startswith("socket."):
        return
    if event in {"socket.connect", "socket.sendto", "socket.sendmsg"}:
        socket, address = arguments
        if getattr(socket, "family", 0) in INTERNET and address is not None:
            host = address[0]  # type: ignore[index]
            if not (is_loopback(host) and os.environ.get(SERVER)):
                refuse(f"{event} {host}")
    elif event == "socket.bind":
        socket, address = arguments
        if getattr(socket, "family", 0) in INTERNET and is_loopback(address[0]):  # type: ignore[index]
            os.environ[SERVER] = "1"
    elif event in {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr"}:
        host = arguments[0] or ""
        name = host.decode() if isinstance(host, bytes) else str(host)
        if name not in NAMES and not is_number(name):
            refuse(f"{event} {name}")


def keep_in_children() -> None:
    """Processes that are started with another PYTHONPATH keep this folder on it."""
    import subprocess

    start = subprocess.Popen.__init__
    here = os.path.dirname(os.path.abspath(__file__))

    def guarded(self, *words, env=None, **options):  # type: ignore[no-untyped-def]
        if env is not None and here not in env.get("PYTHONPATH", here).split(os.pathsep):
            env = {**env, "PYTHONPATH": os.pathsep.join([here, env["PYTHONPATH"]])}
        start(self, *words, env=env, **options)

    subprocess.Popen.__init__ = guarded  # type: ignore[method-assign]


if SEEN in os.environ:
    sys.addaudithook(watch)
