"""A tokenizer on its own gives what the model's own encoding of an answer gives."""

import shutil
from pathlib import Path

import pytest

from medpo_cli.demo import MODEL
from medpo_cli.errors import UnavailableError
from medpo_cli.models.load import load_model
from medpo_cli.models.tokenizer import load_tokenizer

TEXTS = ["No nodule.", "\nThere is a small 🫁 nodule, 2.5 cm.", "  Größe 3°, 胸部", "a\r\n- b", ""]


def test_ids_and_offsets_are_those_of_the_model() -> None:
    vlm, tokenize = load_model(MODEL), load_tokenizer(MODEL)
    for text in TEXTS:
        encoded = vlm.encode_answer(text)
        assert tokenize(text) == (encoded.ids.tolist()[:-1], encoded.offsets[:-1])


def test_weights_and_processor_may_be_missing(tmp_path: Path) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(Path(MODEL) / name, tmp_path)
    assert load_tokenizer(tmp_path)("No nodule.") == load_tokenizer(MODEL)("No nodule.")


@pytest.mark.parametrize("content", [None, "", "{}", "\0"])
def test_a_folder_without_a_usable_tokenizer_is_refused(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "tokenizer.json").write_text(content)
    with pytest.raises(UnavailableError, match="no tokenizer"):
        load_tokenizer(tmp_path)


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnavailableError, match="nothing is downloaded"):
        load_tokenizer(tmp_path / "none")
