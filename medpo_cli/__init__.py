"""medpo: make medical vision-language models say what the image shows."""

__version__ = "0.1.0"
