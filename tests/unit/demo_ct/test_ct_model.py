"""The shipped CT model loads as a user's model does, reads the held-out patient, and looks at the picture."""

import numpy as np
import pytest

from medpo_cli.demo.ct import MODEL, language
from medpo_cli.demo.ct.scenes import SIDES, draw_scene
from medpo_cli.models.generate import Request, generate
from medpo_cli.models.load import load_model
from medpo_cli.schema.records import Decoding

COUNT = 40


def colour(grey):
    return np.repeat(grey[:, :, None], 3, axis=2)


@pytest.fixture(scope="module")
def vlm():
    return load_model(MODEL)


@pytest.fixture(scope="module")
def test_scenes():
    return [draw_scene("test", 0, index) for index in range(COUNT)]


def answers(vlm, prompt, pictures):
    requests = [Request(prompt, [colour(picture)], seed=0) for picture in pictures]
    return [responses[0].text for responses in generate(vlm, requests, Decoding(max_tokens=64))]


def test_statements_about_the_held_out_patient_are_mostly_right(vlm, test_scenes):
    texts = answers(vlm, language.REPORT_PROMPT, [scene.grey for scene in test_scenes])
    right = [
        language.statement(side, scene.nodules.get(side)) in text
        for text, scene in zip(texts, test_scenes, strict=True)
        for side in SIDES
    ]
    # Half of the statements are right by always denying; the model card's value is far above this bound.
    assert sum(right) / len(right) >= 0.65


def test_yes_becomes_no_on_the_twin(vlm, test_scenes):
    asked = [(scene, side) for scene in test_scenes for side in scene.nodules][:24]
    withdrawn = said = 0
    for scene, side in asked:
        prompt = language.closed_question(side)
        with_it, without = answers(vlm, prompt, [scene.grey, scene.twins[side]])
        said += with_it.startswith("Yes")
        withdrawn += with_it.startswith("Yes") and without.startswith("No")
    assert said >= 0.6 * len(asked)
    assert withdrawn >= 0.5 * said


def test_every_answer_is_in_the_closed_language(vlm, test_scenes):
    known = {language.absent(side) for side in SIDES} | {
        text for text in language.every_text() if text.startswith("On ")
    }
    for text in answers(vlm, language.REPORT_PROMPT, [scene.grey for scene in test_scenes[:12]]):
        sentences = [part if part.endswith(".") else f"{part}." for part in text.split(". ")]
        assert set(sentences) <= known
        assert len(sentences) == len(SIDES)
