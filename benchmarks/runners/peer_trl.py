"""TRL: ``python -m trl.scripts.dpo`` (what ``trl dpo`` launches), plain DPO with LoRA on the language model."""

import json
from pathlib import Path
from typing import Any

from runners.data import TARGETS, read_pairs


def command(job: dict[str, Any], environment: Path, scratch: Path) -> list[str]:
    """Write the data set into ``scratch``; the command that trains ``job["steps"]`` steps on it."""
    rows = [
        {
            "images": [str(Path(job["pairs"]) / pair["image"])],
            "prompt": [{"role": "user", "content": pair["prompt"]}],
            **{side: [{"role": "assistant", "content": pair[side]}] for side in ("chosen", "rejected")},
        }
        for pair in read_pairs(job["pairs"])
    ]
    (scratch / "data").mkdir()
    (scratch / "data" / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {
        "model_name_or_path": job["model"], "dataset_name": str(scratch / "data"), "output_dir": str(scratch / "out"),
        "per_device_train_batch_size": job["batch"], "max_steps": job["steps"], "max_length": 4096, "beta": 0.1,
        "learning_rate": 1e-6, "lora_r": job["rank"], "lora_alpha": 2 * job["rank"], "lora_dropout": 0.0,
        "lora_target_modules": TARGETS, "dtype": "float32", "use_cpu": True, "bf16": False,
        "gradient_checkpointing": False, "report_to": "none", "save_strategy": "no", "logging_steps": 1,
    }  # fmt: skip
    flags = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    return [str(environment / "bin/python"), "-m", "trl.scripts.dpo", "--use_peft", *flags]
