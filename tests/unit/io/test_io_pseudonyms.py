"""The key behind every pseudonym: made once, for its owner only, outside the data."""

import hmac
from pathlib import Path

import pytest

from medpo_cli.errors import CannotCreateError, ConfigError
from medpo_cli.io.pseudonyms import load_key


def test_key_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "config" / "import.key"
    key = load_key(path, [tmp_path / "data"])
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["import.key"]
    assert load_key(path, [])("patient", "1") == key("patient", "1")
    raw = bytes.fromhex(path.read_text())
    assert key("patient", "1") == hmac.digest(raw, b"patient\x001", "sha256").hex()[:20]
    assert key("patient", "1") != key("study", "1")
    assert load_key(tmp_path / "other.key", [])("patient", "1") != key("patient", "1")


def test_keys_that_are_not_safe_are_refused(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    with pytest.raises(ConfigError, match="outside the data"):
        load_key(data / "key", [data])
    assert not (data / "key").exists()
    path = tmp_path / "key"
    load_key(path, [])
    path.chmod(0o640)
    with pytest.raises(ConfigError, match="chmod 600"):
        load_key(path, [])
    for text in ("", "ab", "zz" * 32):
        (tmp_path / "bad").write_text(text)
        (tmp_path / "bad").chmod(0o600)
        with pytest.raises(ConfigError, match="hexadecimal"):
            load_key(tmp_path / "bad", [])
    with pytest.raises(ConfigError, match="regular"):
        load_key(data, [])
    with pytest.raises(CannotCreateError):
        load_key(path / "below", [])
