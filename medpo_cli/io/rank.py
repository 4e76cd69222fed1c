"""Which of several processes this one is, told from the environment that ``accelerate launch`` sets."""

import os


def is_follower() -> bool:
    """True in every process but the first: it computes, and leaves messages, files and records to the first."""
    return is_launched() and os.environ.get("RANK", "0") != "0"


def is_launched() -> bool:
    """True under ``accelerate launch`` or ``torchrun`` with several processes."""
    return "LOCAL_RANK" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1"
