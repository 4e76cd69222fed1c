"""What no stage makes, put into pairs of the demo, so that every method can be run on them."""

import msgspec

from medpo_cli.demo.language import DENIED
from medpo_cli.schema.records import Pair


def completed(pair: Pair, method: str) -> Pair:
    """``pair`` with the twin that only a user's own data has, if ``method`` reads it."""
    if method != "sympo":
        return pair
    ext = pair.ext or {}
    finding, path = next(iter(ext["twins"].items()))
    twin = {"image": {"path": path}, "answer": DENIED[finding]}
    return msgspec.structs.replace(pair, ext={**ext, "align": {**ext.get("align", {}), "twin": twin}})


def has_twin(pair: Pair) -> bool:
    """Whether a lesion-free picture with a known answer belongs to the pair."""
    return pair.task == "vqa-closed" and len((pair.ext or {}).get("twins", {})) == 1
