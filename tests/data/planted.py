"""Words that must stay where they are planted, and a search for them in everything that was written."""

import base64
import binascii
import contextlib
import gzip
import re
import zlib
from pathlib import Path

HEAD, TAIL = "ZQX", "WKVJY"
DATA_URI = re.compile(rb"base64,([A-Za-z0-9+/=]{16,})")


class Planted:
    """Makes one word for each place, so that a leak names where it came from.

    A word is twelve capital letters and digits: short and plain enough for every text VR of DICOM, and the same
    in JSON, in URLs and in HTML.
    """

    def __init__(self) -> None:
        self.places: dict[str, str] = {}
        """Place by word."""

    def __call__(self, place: str) -> str:
        """A new word for ``place``."""
        word = f"{HEAD}{len(self.places):04d}{TAIL}"
        self.places[word] = place
        return word

    def found(self, data: bytes) -> set[str]:
        """Places whose words stand in ``data``, as they are or encoded, packed data unpacked."""
        parts = list(_unpacked(data))
        return {place for word, place in self.places.items() for part in parts if _stands(word, part)}

    def found_under(self, folder: Path, *, without: tuple[Path, ...] = ()) -> dict[str, set[str]]:
        """The same for the names and the bytes of all files in and below a folder, by relative path."""
        leaks: dict[str, set[str]] = {}
        for path in sorted(folder.rglob("*")):
            if any(path == one or path.is_relative_to(one) for one in without):
                continue
            name = str(path.relative_to(folder))
            places = self.found(name.encode()) | (self.found(path.read_bytes()) if path.is_file() else set())
            if places:
                leaks[name] = places
        return leaks


def forms(word: str) -> list[bytes]:
    """How a word may be written: UTF-16, hexadecimal, and base64 at each of the three alignments."""
    plain = word.encode()
    found = [word.encode("utf-16-le"), word.encode("utf-16-be"), plain.hex().encode()]
    for shift in range(3):
        # Only the characters that the word alone decides.
        encoded = base64.b64encode(b"\0" * shift + plain + b"\0" * 2)
        found.append(encoded[-(-shift * 8 // 6) : (shift + len(plain)) * 8 // 6])
    return found


def _stands(word: str, data: bytes) -> bool:
    return word.lower().encode() in data.lower() or any(form in data for form in forms(word))


def _unpacked(data: bytes) -> list[bytes]:
    """The data, what gzip or zlib hid in it, and what its data URIs hold."""
    parts = [data]
    if data.startswith(b"\x1f\x8b"):
        with contextlib.suppress(OSError, EOFError, zlib.error):
            parts.append(gzip.decompress(data))
    for found in DATA_URI.findall(data):
        with contextlib.suppress(binascii.Error):
            parts.append(base64.b64decode(found))
    return parts
