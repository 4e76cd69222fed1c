"""The embedded demo: a drawn and a real chest domain, their cases, and the models that answer about them."""

from pathlib import Path

MODEL = Path(__file__).parent / "phantom-llava"
"""The phantom domain's base: an ordinary Hugging Face model folder."""
