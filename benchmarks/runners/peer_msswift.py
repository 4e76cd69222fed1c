"""ms-swift: what ``swift rlhf --rlhf_type dpo`` launches, plain DPO with LoRA on the language model."""

import json
from pathlib import Path
from typing import Any

from runners.data import read_pairs


def command(job: dict[str, Any], environment: Path, scratch: Path) -> list[str]:
    """Write the data set into ``scratch``; the command that trains ``job["steps"]`` steps on it."""
    rows = [
        {
            "messages": [
                {"role": "user", "content": "<image>" + pair["prompt"]},
                {"role": "assistant", "content": pair["chosen"]},
            ],
            "rejected_response": pair["rejected"],
            "images": [str(Path(job["pairs"]) / pair["image"])],
        }
        for pair in read_pairs(job["pairs"])
    ]
    data = scratch / "train.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    settings = {
        "rlhf_type": "dpo", "model": job["model"], "model_type": "llava1_5_hf", "template": "bench",
        "external_plugins": str(Path(__file__).with_name("swift_template.py")), "dataset": str(data), "beta": 0.1,
        "split_dataset_ratio": 0, "tuner_type": "lora", "target_modules": "all-linear", "freeze_vit": "true",
        "lora_rank": job["rank"], "lora_alpha": 2 * job["rank"], "lora_dropout": 0.0, "torch_dtype": "float32",
        "per_device_train_batch_size": job["batch"], "gradient_accumulation_steps": 1, "max_steps": job["steps"],
        "learning_rate": 1e-6, "gradient_checkpointing": "false", "save_strategy": "no", "eval_strategy": "no",
        "report_to": "none", "attn_impl": "sdpa", "max_length": 4096, "use_cpu": "true", "use_hf": "true",
        "dataset_num_proc": 1, "dataloader_num_workers": 0, "logging_steps": 1, "output_dir": str(scratch / "out"),
        "add_version": "false", "load_from_cache_file": "false",
    }  # fmt: skip
    flags = [part for name, value in settings.items() for part in (f"--{name}", str(value))]
    return [str(environment / "bin/python"), "-m", "swift.cli.rlhf", *flags]
