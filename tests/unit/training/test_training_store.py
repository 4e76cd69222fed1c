"""What the reference said, kept in memory and on disk."""

import os
from pathlib import Path

import pytest
import torch
from data.training_pairs import PAIRS, encode, engine, gradients, tiny

from medpo_cli.training.layout import bundles
from medpo_cli.training.objectives.methods import resolve
from medpo_cli.training.reference import Reference
from medpo_cli.training.store import RowStore

TERMS = resolve("fire-mpo", gamma=0.5, alpha=0.1, nll=1.0)


def row(value: float, rows: int = 2) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.full((3,), float(value)), torch.full((rows, 4), -float(value), dtype=torch.bfloat16)


def test_full_memory_takes_nothing_more() -> None:
    store = RowStore(limit=2 * (3 * 4 + 2 * 4 * 2))  # two rows: float32 [3], bfloat16 [2, 4]
    assert store.used
    for number in range(3):
        store.put(f"k{number}", *row(number))
    assert store.get("k2") is None
    found = store.get("k1")
    assert found is not None
    assert torch.equal(found[0], row(1)[0])
    assert store.size == store.limit
    nothing = RowStore(limit=0)
    nothing.put("k", *row(1))
    assert nothing.get("k") is None
    assert not nothing.used


def test_disk_keeps_rows_for_the_next_run(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    store = RowStore(0, folder)
    store.put("a", *row(1))
    store.put("empty", *row(2, rows=0))
    found = store.get("a")  # before it is written
    assert found is not None
    store.flush()
    store.flush()  # nothing new: no further file
    assert len(list(folder.iterdir())) == 1
    again = RowStore(0, folder)
    for key, (logprobs, states) in (("a", row(1)), ("empty", row(2, rows=0))):
        kept = again.get(key)
        assert kept is not None
        assert torch.equal(kept[0], logprobs)
        assert torch.equal(kept[1], states)
        assert kept[1].dtype == torch.bfloat16
    assert again.get("b") is None
    again.put("a", *row(9))  # known already
    again.flush()
    assert len(list(folder.iterdir())) == 1


def test_a_damaged_file_is_passed_over(tmp_path: Path) -> None:
    store = RowStore(0, tmp_path)
    store.put("a", *row(1))
    store.flush()
    later = RowStore(0, tmp_path)
    (file,) = tmp_path.iterdir()
    os.truncate(file, 20)
    assert later.get("a") is None
    assert RowStore(0, tmp_path).get("a") is None
    (tmp_path / ".rows-x.safetensors.1.tmp").write_bytes(b"torn")
    assert RowStore(0, tmp_path).get("a") is None


def test_a_full_sitting_is_written_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("medpo_cli.training.store.FLUSH_BYTES", 50)
    store = RowStore(0, tmp_path)
    for number in range(4):
        store.put(f"k{number}", *row(number))
    assert len(list(tmp_path.iterdir())) == 2
    assert all(store.get(f"k{number}") is not None for number in range(4))


@pytest.mark.parametrize("forest", [True, False], ids=["forest", "rows"])
def test_the_cached_reference_gives_the_same_bits(
    tmp_path: Path, forest: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    vlm = tiny("llava")
    encoder, examples = encode(vlm, TERMS, PAIRS)

    def fresh() -> Reference:
        run = engine(vlm, TERMS, encoder, forest=forest)
        run.apart, run.reference = True, Reference(vlm, 0, tmp_path)
        run.accumulate(examples, 1.0)
        with run.kept():
            pass
        return run.reference

    fresh()
    first = gradients(vlm)
    calls: list[int] = []
    monkeypatch.setattr(Reference, "_compute", lambda *_: calls.append(1))
    fresh()
    second = gradients(vlm)
    assert calls == []  # all from disk
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_another_model_or_another_row_is_another_key(tmp_path: Path) -> None:
    vlm = tiny("llava")
    _, examples = encode(vlm, TERMS, PAIRS)
    units = [unit for example in examples for unit in example.units]
    keys = [row.key for bundle in bundles(units, forest=True) for row in bundle.rows]
    assert len(set(keys)) == len(keys)
    assert keys == [row.key for bundle in bundles(units, forest=True) for row in bundle.rows]
    alone = [row.key for unit in units for bundle in bundles([unit], forest=True) for row in bundle.rows]
    assert set(alone) & set(keys)  # what shares nothing has the same row
    prefix = Reference(vlm, 0, tmp_path).prefix
    vlm.digest = "1" * 64
    assert Reference(vlm, 0, tmp_path).prefix != prefix
    assert Reference(vlm, 0, tmp_path, "second", "2" * 64).prefix != Reference(vlm, 0, tmp_path).prefix
