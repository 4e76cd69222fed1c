"""Real chest CT crops with real reader contours inserted, exact masks and twins, and real lesions."""

from pathlib import Path

MODEL = Path(__file__).parent / "ct-llava"
"""The CT domain's base: an ordinary Hugging Face model folder."""
