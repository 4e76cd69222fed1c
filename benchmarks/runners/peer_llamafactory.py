"""LLaMA-Factory: what ``llamafactory-cli train`` runs, plain DPO with LoRA on the language model."""

import json
from pathlib import Path
from typing import Any

from runners.data import read_pairs


def command(job: dict[str, Any], environment: Path, scratch: Path) -> list[str]:
    """Write the data set into ``scratch``; the command that trains ``job["steps"]`` steps on it."""
    rows = [
        {
            "conversations": [{"from": "human", "value": "<image>" + pair["prompt"]}],
            "chosen": {"from": "gpt", "value": pair["chosen"]},
            "rejected": {"from": "gpt", "value": pair["rejected"]},
            "images": [str(Path(job["pairs"]) / pair["image"])],
        }
        for pair in read_pairs(job["pairs"])
    ]
    (scratch / "train.json").write_text(json.dumps(rows))
    columns = {"messages": "conversations", "chosen": "chosen", "rejected": "rejected", "images": "images"}
    entry = {"file_name": "train.json", "formatting": "sharegpt", "ranking": True, "columns": columns}
    (scratch / "dataset_info.json").write_text(json.dumps({"bench": entry}))
    settings = {
        "model_name_or_path": job["model"], "stage": "dpo", "do_train": True, "finetuning_type": "lora",
        "lora_target": "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj", "lora_rank": job["rank"],
        "lora_alpha": 2 * job["rank"], "lora_dropout": 0.0, "dataset_dir": str(scratch), "dataset": "bench",
        "template": "bench", "cutoff_len": 4096, "output_dir": str(scratch / "out"), "pref_beta": 0.1,
        "per_device_train_batch_size": job["batch"], "max_steps": job["steps"], "learning_rate": 1e-6,
        "logging_steps": 1, "save_strategy": "no", "report_to": "none", "use_cpu": True, "bf16": False,
        "disable_gradient_checkpointing": True, "flash_attn": "sdpa", "overwrite_cache": True,
    }  # fmt: skip
    (scratch / "train.yaml").write_text("".join(f"{name}: {json.dumps(value)}\n" for name, value in settings.items()))
    child = Path(__file__).with_name("llamafactory_child.py")
    return [str(environment / "bin/python"), str(child), str(scratch / "train.yaml")]
