"""Models: loading, families, LoRA, generation, scoring, endpoints.

This floor alone imports transformers, peft and bitsandbytes. They are told to stay offline and quiet
before they are imported: loading a model never touches a network and never prints.
"""

import logging
import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"
os.environ["HF_HUB_DISABLE_PROGRESS_BARS"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
os.environ.setdefault("BITSANDBYTES_NOWELCOME", "1")
logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
