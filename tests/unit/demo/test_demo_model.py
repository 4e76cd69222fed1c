"""The shipped phantom model: an ordinary folder that loads, sees, answers, and is as flawed as its card says."""

import hashlib
import json
import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoModelForImageTextToText, AutoProcessor, LlavaForConditionalGeneration

import medpo_cli.demo
from medpo_cli.demo import language
from medpo_cli.demo.build.measure import answer, read_report
from medpo_cli.demo.build.tuning import Encoder
from medpo_cli.demo.cases import png
from medpo_cli.demo.findings import FINDINGS
from medpo_cli.demo.phantom import phantom

FOLDER = Path(medpo_cli.demo.__file__).parent / "phantom-llava"


@pytest.fixture(scope="module")
def loaded():
    torch.set_num_threads(1)
    model = AutoModelForImageTextToText.from_pretrained(FOLDER, dtype=torch.float32, local_files_only=True)
    return model.eval(), AutoProcessor.from_pretrained(FOLDER, local_files_only=True)


def ask(loaded, picture: Image.Image, prompt: str) -> str:
    model, processor = loaded
    content = [{"type": "image"}, {"type": "text", "text": prompt}]
    text = processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    inputs = processor(text=text, images=picture.convert("RGB"), return_tensors="pt")
    with torch.no_grad():
        out = model.generate(**inputs, max_new_tokens=96, do_sample=False)
    assert out[0, -1] == processor.tokenizer.eos_token_id
    return processor.tokenizer.decode(out[0, inputs["input_ids"].shape[1] :], skip_special_tokens=True)


def test_stock_classes(loaded):
    assert type(loaded[0]) is LlavaForConditionalGeneration
    assert not list(FOLDER.glob("*.py"))


def test_answers_from_a_png(loaded, tmp_path):
    right = total = 0
    for index in range(12):
        image = phantom("test", 0, index)
        path = tmp_path / "image.png"
        path.write_bytes(png(image.picture))
        with Image.open(path) as picture:
            said = read_report(ask(loaded, picture, language.REPORT_PROMPT))
        right += sum(said.get(finding, "missing") == image.lesions.get(finding) for finding in FINDINGS)
        total += len(FINDINGS)
    # About four in five statements are right; guessing all-absent gives .58, and the base is flawed on purpose.
    assert 0.6 < right / total < 0.97


def test_makers_shortcut_gives_the_same_words(loaded):
    """The maintainer scripts skip PNG files and the processor; users do not."""
    model, processor = loaded
    pictures = [phantom("test", 0, index).picture for index in range(4)]
    grey = torch.from_numpy(np.stack(pictures))
    short = answer(model, Encoder(processor, 37), language.REPORT_PROMPT, grey)
    assert short == [ask(loaded, Image.open(BytesIO(png(picture))), language.REPORT_PROMPT) for picture in pictures]


def test_answers_questions(loaded):
    picture = Image.fromarray(phantom("test", 0, 0).picture)
    assert ask(loaded, picture, "Is there a pneumothorax?").split(",")[0] in {"Yes", "No"}


def test_prompt_is_a_prefix_and_any_text_encodes(loaded):
    _, processor = loaded
    content = [{"type": "image"}, {"type": "text", "text": "Größe? 肺 🫁"}]
    turn = {"role": "user", "content": content}
    prompt = processor.apply_chat_template([turn], add_generation_prompt=True)
    whole = processor.apply_chat_template([turn, {"role": "assistant", "content": "No."}])
    assert whole.startswith(prompt)
    tokenizer = processor.tokenizer
    assert tokenizer.decode(tokenizer("Größe? 肺 🫁").input_ids) == "Größe? 肺 🫁"


def test_every_word_of_the_language_is_one_token(loaded):
    tokenizer = loaded[1].tokenizer
    for text in language.every_text():
        pieces = re.findall(r" ?\w+|[^\w\s]", text)
        assert tokenizer.tokenize(text) == [piece.replace(" ", "Ġ") for piece in pieces]


def test_weights_are_small_half_precision_and_those_of_the_card():
    weights = FOLDER / "model.safetensors"
    assert weights.stat().st_size <= 2_500_000
    digest = hashlib.sha256(weights.read_bytes()).hexdigest()
    assert digest in (FOLDER / "README.md").read_text()
    assert json.loads((FOLDER / "config.json").read_text())["dtype"] == "float16"
