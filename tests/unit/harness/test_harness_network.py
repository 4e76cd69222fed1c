"""The network is shut in every Python process that tests start: proven by trying, in processes of their own."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from medpo_cli.imaging import guard

FAR = "198.51.100.7"
"""An address for examples (RFC 5737), which belongs to nobody."""
ATTEMPTS = {
    "connect": f"s = socket.socket(); s.settimeout(1); s.connect(('{FAR}', 80))",
    "connect_ex": f"s = socket.socket(); s.settimeout(1); s.connect_ex(('{FAR}', 80))",
    "below the socket module": f"import _socket; s = _socket.socket(2, 1); s.settimeout(1); s.connect(('{FAR}', 80))",
    "IPv6": "s = socket.socket(socket.AF_INET6); s.settimeout(1); s.connect(('2001:db8::1', 80))",
    "create_connection": f"socket.create_connection(('{FAR}', 443), 1)",
    "datagram": f"socket.socket(type=socket.SOCK_DGRAM).sendto(b'x', ('{FAR}', 53))",
    "name": "socket.getaddrinfo('models.example', 443)",
    "old name": "socket.gethostbyname('models.example')",
    "library": f"import http.client; http.client.HTTPConnection('{FAR}', timeout=1).request('GET', '/')",
    "swallowed": f"""
try:
    socket.create_connection(('{FAR}', 443), 1)
except BaseException:
    raise SystemExit(1)
""",
    "grandchild": f"""
import subprocess, sys
done = subprocess.run([sys.executable, '-c', "import socket; socket.create_connection(('{FAR}', 80), 1)"])
raise SystemExit(done.returncode)
""",
    "loopback without a server of ours": "socket.create_connection(('127.0.0.1', 9), 1)",
}


def attempt(program: str, folder: Path, **more: str) -> tuple[int, str]:
    """Exit status of a child, and what the guard noted (elsewhere than for the test that is running)."""
    seen = folder / "seen"
    seen.touch()
    environment = {**os.environ, "TESTS_NETWORK_SEEN": str(seen), **more}
    words = [sys.executable, "-c", f"import socket\n{program}"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, timeout=60)
    return done.returncode, seen.read_text()


@pytest.mark.parametrize("way", ATTEMPTS)
def test_a_child_that_reaches_out_fails_and_is_noted(tmp_path: Path, way: str) -> None:
    code, noted = attempt(ATTEMPTS[way], tmp_path)
    assert code == 1
    assert noted.startswith("socket.")


def test_another_python_path_does_not_lose_the_guard(tmp_path: Path) -> None:
    code, noted = attempt(ATTEMPTS["connect"], tmp_path, PYTHONPATH=str(tmp_path))
    assert (code, noted) == (1, f"socket.connect {FAR}\n")


CHILD = ["-c", "import subprocess, sys; subprocess.run([sys.executable, *sys.argv[1:]])"]


@pytest.mark.parametrize("start", [[], CHILD])
def test_the_process_that_reads_images_is_guarded(start: list[str]) -> None:
    """medpo starts it with a path of its own making; here as a child of ours, and as a child of a child."""
    program = "import sys; print('watch' in vars(sys.modules['sitecustomize']))"
    words = [sys.executable, *start, "-P", "-c", program]
    done = subprocess.run(words, env=guard._environment(), capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_this_process_is_guarded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TESTS_NETWORK_SEEN", str(tmp_path / "seen"))
    with socket.socket() as line, pytest.raises(AssertionError, match="tried to reach the network"):
        line.connect((FAR, 80))
    with pytest.raises(AssertionError, match="tried to reach the network"):
        socket.getaddrinfo("models.example", 443)
    assert (tmp_path / "seen").read_text() == f"socket.connect {FAR}\nsocket.getaddrinfo models.example\n"


def test_a_server_of_ours_can_be_reached_from_children(tmp_path: Path) -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        program = f"socket.create_connection(('127.0.0.1', {server.getsockname()[1]}), 5)"
        assert attempt(program, tmp_path) == (0, "")
        assert attempt(ATTEMPTS["connect"], tmp_path)[0] == 1
