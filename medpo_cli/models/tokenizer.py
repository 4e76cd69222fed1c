"""The tokenizer of a model folder without its weights."""

from collections.abc import Callable
from pathlib import Path

from transformers import AutoTokenizer

from medpo_cli.errors import UnavailableError
from medpo_cli.models.load import quiet

Tokenize = Callable[[str], tuple[list[int], list[tuple[int, int]]]]


def load_tokenizer(folder: Path) -> Tokenize:
    """Token ids and offsets (code points) of an answer, as ``VisionLanguageModel.encode_answer`` gives them.

    Args:
        folder: local folder with a tokenizer.json; weights and processor may be missing.

    Raises:
        UnavailableError: no folder, no tokenizer in it, or one without offsets.
    """
    if not folder.is_dir():
        raise UnavailableError(f"tokenizer folder {folder.name} not found: give a local folder (nothing is downloaded)")
    with quiet():
        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except Exception as error:  # whatever a damaged folder makes the library raise
            raise UnavailableError(
                f"{folder.name} holds no tokenizer that can be loaded ({type(error).__name__})"
            ) from error
    if not tokenizer.is_fast:
        raise UnavailableError(f"the tokenizer of {folder.name} tells no offsets: a tokenizer.json is needed")

    def tokenize(text: str) -> tuple[list[int], list[tuple[int, int]]]:
        encoded = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
        return encoded["input_ids"], [(start, end) for start, end in encoded["offset_mapping"]]

    return tokenize
