"""Make the phantom demo's base model: ``python -m medpo_cli.demo.build.phantom_model --out FOLDER``.

Fixed step counts and seeds, no clock: the same torch version, processor kind and thread count give the
same weights. The base is biased on purpose (``teaching``); its tower is trained on unbiased pictures.
"""

import argparse
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch

from medpo_cli.demo import language
from medpo_cli.demo.build.card import write_card
from medpo_cli.demo.build.measure import SENTENCES, answer, score_questions, score_reports
from medpo_cli.demo.build.pictures import Pictures, draw_pictures
from medpo_cli.demo.build.teaching import questions, reports
from medpo_cli.demo.build.tower import all_features, measure_tower, train_tower
from medpo_cli.demo.build.tuning import Encoder, Shuffled, fit_projector, train_language
from medpo_cli.models.tiny import build_llava

SEED = 0
TOWER = {"images": 20480, "steps": 1600, "batch": 64, "lr": 1e-3}
LANGUAGE = {"images": 12000, "steps": 750, "reports": 32, "questions": 48, "lr": 3e-3}
MEASURED = 300
THREADS = 2


def log(message: str) -> None:
    """Progress on stderr."""
    sys.stderr.write(f"{time.process_time():7.0f} s  {message}\n")


def new_model() -> tuple[Any, Any]:
    """The stock architecture with random weights, and its processor."""
    return build_llava(
        language.every_text(),
        image_size=96,
        patch_size=16,
        vision_hidden=128,
        vision_layers=3,
        vision_heads=4,
        hidden=128,
        layers=3,
        heads=4,
        kv_heads=4,
        intermediate=256,
        vocab_size=512,
        tie_embeddings=True,
        seed=SEED,
    )


def make() -> tuple[Any, Any]:
    """Train the tower, then projector and language model."""
    model, processor = new_model()
    tower = model.model.vision_tower
    data = draw_pictures("tower", SEED, int(TOWER["images"]), workers=THREADS)
    log(f"drew {len(data)} pictures")
    heads = train_tower(
        tower, data, steps=int(TOWER["steps"]), batch=int(TOWER["batch"]), lr=TOWER["lr"], seed=SEED, log=log
    )
    log(f"tower {measure_tower(tower, heads, draw_pictures('tower-validation', SEED, 500))}")
    for parameter in tower.parameters():
        parameter.requires_grad_(False)
    data = draw_pictures("teaching", SEED, int(LANGUAGE["images"]), confounded=True, workers=THREADS)
    features = all_features(tower, data)
    log("cached features")
    teach(model, processor, data, features)
    return model, processor


def teach(model: Any, processor: Any, data: Pictures, features: torch.Tensor) -> None:
    """Supervised training on biased reports and true questions."""
    torch.manual_seed(SEED)
    fit_projector(model, features)
    streams = [
        Shuffled(reports(data.lesions, SEED), int(LANGUAGE["reports"]), SEED),
        Shuffled(questions(data.lesions, SEED), int(LANGUAGE["questions"]), SEED + 1),
    ]
    encoder = Encoder(processor, features.shape[1])
    train_language(model, encoder, features, streams, steps=int(LANGUAGE["steps"]), lr=LANGUAGE["lr"], log=log)


def save(model: Any, processor: Any, folder: Path) -> None:
    """A model folder as any user's: fp16 safetensors, tokenizer, processor."""
    if folder.exists():
        shutil.rmtree(folder)
    model.half().save_pretrained(folder)
    processor.save_pretrained(folder)
    for path in folder.iterdir():
        path.chmod(0o644)


def measure(folder: Path, split: str = "test", images: int = MEASURED) -> dict[str, Any]:
    """Load the folder as a stranger would and score it on unbiased pictures."""
    from medpo_cli.models.load import load_model

    loaded = load_model(folder, device="cpu", dtype="float32")
    model = loaded.base
    encoder = Encoder(loaded.processor, model.config.image_seq_length)
    data = draw_pictures(split, SEED, images)
    texts = answer(model, encoder, language.REPORT_PROMPT, data.grey)
    return {"reports": score_reports(texts, data.lesions), "questions": score_questions(model, encoder, data)}


def main() -> None:
    """Make, save, measure and describe."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True, help="model folder; replaced if it exists")
    options = parser.parse_args()
    torch.set_num_threads(THREADS)
    model, processor = make()
    save(model, processor, options.out)
    log("saved")
    describe(options.out, model, processor)
    log("measured; see README.md")


def describe(folder: Path, model: Any, processor: Any) -> None:
    """Measure the saved model and write its card."""
    facts = {
        "sentences": len(SENTENCES),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "vocabulary": len(processor.tokenizer),
        "images": MEASURED,
        "seed": SEED,
        "threads": THREADS,
        "tower": TOWER,
        "language": LANGUAGE,
    }
    write_card(folder, measure(folder), facts)


if __name__ == "__main__":
    main()
