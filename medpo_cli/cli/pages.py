"""How ``--help`` is arranged: the panel of each setting, and examples under them."""

from itertools import accumulate

STREAMS = "Streams, safety, cron"

_BEGINS = {
    "sample": {"model": "Model", "seed": "Answers", "endpoint": "Server", "shard": "Scale out"},
    "edit": {
        "model": "Model",
        "seed": "Counterfactuals",
        "editor": "Editor",
        "emit": "Rankings",
        "per_sample": "Counterfactuals",
        "lexicon": "Rules and weights",
        "audit": "Audit",
    },
    "masks": {
        "regions": "Regions",
        "mask_cmd": "Command",
        "model": "Model, for saliency",
        "saliency": "Saliency",
        "replace": "Regions",
        "folder": "Output",
    },
    "corrupt": {
        "operator": "Operator",
        "model_side": "Proof",
        "control": "Control and fallback",
        "images": "Output",
    },
    "align": {
        "model": "Model",
        "seed": "Training",
        "method": "Objective",
        "lora": "Adapter",
        "lr": "Training",
        "checkpointing": "Memory",
        "merge": "Output",
        "estimate": "Memory",
        "max_grad_growth": "Training",
        "max_length": "Memory",
        "held_out": "Held-out pairs",
        "checkpoint_every": "Checkpoints",
        "group_by_image": "Engine",
        "curves": "Output",
    },
    "eval": {
        "model": "Model",
        "seed": "Measures",
        "html": "Page",
        "compare": "Comparison and gate",
        "wording": "Reports",
        "judge": "Judge",
        "with_text": "Page",
        "lexicon": "Measures",
    },
}
"""For each stage the settings at which a panel begins; it goes on until the next one named."""

EXAMPLES = {
    "sample": (
        "medpo sample cases.jsonl --model ~/models/qwen-vl -o samples.jsonl",
        "medpo sample cases.jsonl --model ~/models/qwen-vl -n 4 --temperature 0.8 -o lists.jsonl",
        "medpo sample cases.jsonl --endpoint http://127.0.0.1:8000/v1 -o samples.jsonl",
    ),
    "edit": (
        "medpo sample | medpo edit > pairs.jsonl",
        "medpo edit samples.jsonl -o pairs.jsonl --audit audit",
        "medpo edit lists.jsonl --emit ranking -o ranking.jsonl",
    ),
    "masks": (
        "medpo masks pairs.jsonl --mask-cmd 'python segment.py' -o pairs.m.jsonl",
        "medpo masks pairs.jsonl --regions saliency -o pairs.m.jsonl",
    ),
    "corrupt": (
        "medpo corrupt pairs.jsonl > pairs.v.jsonl",
        "medpo corrupt pairs.jsonl --operator gaussian --jobs 4 -o pairs.v.jsonl",
    ),
    "align": (
        "medpo align --lora pairs.v.jsonl -o adapter",
        "medpo align --qlora --model ~/models/qwen-vl pairs.v.jsonl -o adapter --estimate",
        "medpo align --method dpo pairs.jsonl -o adapter-dpo --resume",
    ),
    "eval": (
        "medpo eval --adapter adapter",
        "medpo eval test.jsonl --model ~/models/qwen-vl --adapter adapter --html report.html -o scores.jsonl",
        "medpo eval new.jsonl --compare base.jsonl --gate gate.toml",
        "medpo eval samples.jsonl --judge http --endpoint http://127.0.0.1:8000/v1 --cache verdicts",
        "medpo eval samples.jsonl --wording --metrics metrics.toml --require bertscore",
    ),
}
"""Command lines to copy, the plainest first."""


def panels(stage: str, settings: list[str]) -> list[str]:
    """The panel of each setting of a stage, in the order of the settings."""
    begins = _BEGINS[stage]
    return list(accumulate(settings, lambda panel, name: begins.get(name, panel), initial=""))[1:]


def epilog(lines: tuple[str, ...]) -> str:
    """Text under a help page, one line for each example (typer joins what no blank line parts)."""
    return "\n\n".join(("Examples:", *lines))
