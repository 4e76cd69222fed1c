"""Answers: the same in any batch, by any of the two loops; seeds, nucleus, log-probabilities, endings."""

from typing import Any

import numpy as np
import pytest
import torch

from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.generate import Request, generate
from medpo_cli.models.sampling import Chooser
from medpo_cli.models.score import Item, answer_logprobs, choice_tokens, first_logprobs
from medpo_cli.models.seeds import derive_seed
from medpo_cli.schema.records import Decoding

QUESTIONS = ["Is there a nodule?", "Describe the findings on this chest image.", "?"]
GREEDY = Decoding(max_tokens=16)
DRAWN = Decoding(max_tokens=16, temperature=1.0, top_p=0.9, n=3)


def requests(images: list[np.ndarray]) -> list[Request]:
    """Shared images, several lengths, two images at once, and none."""
    one = [Request(text, [image], seed) for seed, image in enumerate(images) for text in QUESTIONS]
    return [*one, Request("Hello there", [], 9), Request("Compare.", images[:2], 10)]


@pytest.mark.parametrize("decoding", [GREEDY, DRAWN], ids=["greedy", "drawn"])
def test_batches_do_not_change_answers(vlm: VisionLanguageModel, images: list[np.ndarray], decoding: Decoding) -> None:
    asked = requests(images)
    together = generate(vlm, asked, decoding, batch=16)
    for request, answers in zip(asked, together, strict=True):
        alone = generate(vlm, [request], decoding, batch=1)[0]
        assert [(a.text, a.tokens, a.finish) for a in alone] == [(a.text, a.tokens, a.finish) for a in answers]
        for one, other in zip(alone, answers, strict=True):
            assert one.logprob == pytest.approx(other.logprob, abs=1e-4)


def test_the_same_call_gives_the_same_bytes(vlm: VisionLanguageModel, images: list[np.ndarray]) -> None:
    assert generate(vlm, requests(images), DRAWN) == generate(vlm, requests(images), DRAWN)


@pytest.mark.parametrize("decoding", [GREEDY, DRAWN], ids=["greedy", "drawn"])
def test_own_loop_says_what_the_librarys_says(
    llava: VisionLanguageModel, images: list[np.ndarray], decoding: Decoding
) -> None:
    ours = generate(llava, requests(images), decoding)
    llava.family.own_loop = False
    theirs = generate(llava, requests(images), decoding)
    assert [[a.text for a in answers] for answers in ours] == [[a.text for a in answers] for answers in theirs]
    for one, other in zip(ours, theirs, strict=True):
        assert [a.logprob for a in one] == pytest.approx([a.logprob for a in other], abs=1e-4)


def test_greedy_is_the_librarys_own_greedy(vlm: VisionLanguageModel, images: list[np.ndarray]) -> None:
    prompt = vlm.encode_prompt(QUESTIONS[0], images[:1])
    types = vlm.family.token_inputs(prompt.input_ids[None])
    ids = vlm.base.generate(
        input_ids=prompt.input_ids[None], **prompt.vision, **types, max_new_tokens=16, do_sample=False
    )[0, len(prompt) :]
    (answer,) = generate(vlm, [Request(QUESTIONS[0], images[:1])], GREEDY)[0]
    assert answer.text == vlm.decode(ids.tolist())


def test_answers_of_one_request_differ_and_seeds_count(llava: VisionLanguageModel, images: list[np.ndarray]) -> None:
    first = [a.text for a in generate(llava, [Request("?", images[:1], 1)], DRAWN)[0]]
    other = [a.text for a in generate(llava, [Request("?", images[:1], 2)], DRAWN)[0]]
    assert len(set(first)) == 3
    assert first != other


def test_more_answers_begin_with_the_same_ones(llava: VisionLanguageModel, images: list[np.ndarray]) -> None:
    request = [Request("?", images[:1], 1)]
    three = generate(llava, request, DRAWN)[0]
    two = generate(llava, request, Decoding(max_tokens=16, temperature=1.0, top_p=0.9, n=2))[0]
    assert [a.text for a in two] == [a.text for a in three[:2]]


def _says(vlm: VisionLanguageModel, text: str) -> None:
    """Rig the head so that the model greedily repeats one token."""
    (token,) = vlm.tokenizer(text, add_special_tokens=False)["input_ids"]
    weights = vlm.base.lm_head.weight
    vlm.base.lm_head = torch.nn.Linear(weights.shape[1], weights.shape[0], bias=True)
    torch.nn.init.zeros_(vlm.base.lm_head.weight)
    torch.nn.init.zeros_(vlm.base.lm_head.bias)
    vlm.base.lm_head.bias.data[token] = 2.0


def test_logprob_by_hand_at_the_length_limit(llava: VisionLanguageModel, images: list[np.ndarray]) -> None:
    """Logits are 2 for one token and 0 for the other V - 1: log p = 2 - ln(e^2 + V - 1), five times."""
    _says(llava, " heart")
    size = llava.base.lm_head.out_features
    (answer,) = generate(llava, [Request("?", images[:1])], Decoding(max_tokens=5))[0]
    assert (answer.text, answer.tokens, answer.finish) == (" heart" * 5, 5, "length")
    assert answer.logprob == pytest.approx(5 * (2 - np.log(np.exp(2) + size - 1)), abs=1e-5)


def test_logprob_counts_the_end_token_once(llava: VisionLanguageModel, images: list[np.ndarray]) -> None:
    _says(llava, "<|end|>")
    size = llava.base.lm_head.out_features
    (answer,) = generate(llava, [Request("?", images[:1])], Decoding(max_tokens=5))[0]
    assert (answer.text, answer.tokens, answer.finish) == ("", 1, "stop")
    assert answer.logprob == pytest.approx(2 - np.log(np.exp(2) + size - 1), abs=1e-5)


def test_logprob_is_at_temperature_one(llava: VisionLanguageModel, images: list[np.ndarray]) -> None:
    """Nearly greedy drawing gives greedy answers with the greedy log-probability."""
    asked = [Request("?", [image], 3) for image in images]
    cold = Decoding(max_tokens=8, temperature=1e-4)
    for drawn, greedy in zip(generate(llava, asked, cold), generate(llava, asked, Decoding(max_tokens=8)), strict=True):
        assert drawn[0].text == greedy[0].text
        assert drawn[0].logprob == pytest.approx(greedy[0].logprob, abs=1e-4)


def test_generated_and_teacher_forced_logprobs_agree(vlm: VisionLanguageModel, images: list[np.ndarray]) -> None:
    """Scoring a text whose tokens are the generated ones gives the generated log-probability."""
    _says(vlm, " heart")
    (answer,) = generate(vlm, [Request("?", images[:1])], Decoding(max_tokens=4))[0]
    (scored,) = answer_logprobs(vlm, [("?", images[:1], answer.text)])
    assert scored.shape == (5,)
    assert float(scored[:4].sum()) == pytest.approx(answer.logprob, abs=1e-4)


def test_scores_are_those_of_the_whole_logits(vlm: VisionLanguageModel, images: list[np.ndarray]) -> None:
    """Token t of the answer is predicted at position len(prompt) - 1 + t of the library's own forward."""
    prompt, answer = vlm.encode_prompt("?", images[:1]), vlm.encode_answer("No nodule is seen.").ids
    ids = torch.cat([prompt.input_ids, answer])[None]
    with torch.no_grad():
        logits = vlm.base(input_ids=ids, **prompt.vision, **vlm.family.token_inputs(ids)).logits[0]
    expected = [float(logits[len(prompt) - 1 + t].log_softmax(-1)[token]) for t, token in enumerate(answer)]
    (scored,) = answer_logprobs(vlm, [(prompt, [], "No nodule is seen.")])
    assert scored.tolist() == pytest.approx(expected, abs=1e-5)


def test_scores_do_not_depend_on_the_batch(vlm: VisionLanguageModel, images: list[np.ndarray]) -> None:
    items = [("Is there a nodule?", [image], text) for image in images for text in ("Yes.", "No nodule is seen.")]
    items.append(("Hello", [], "There."))
    for item, together in zip(items, answer_logprobs(vlm, items, batch=4), strict=True):
        torch.testing.assert_close(together, answer_logprobs(vlm, [item])[0], rtol=0, atol=1e-5)


@pytest.mark.parametrize("batch", [1, 3, 5])
def test_scores_keep_their_order_in_any_batch(vlm: VisionLanguageModel, images: list[np.ndarray], batch: int) -> None:
    """Equal images, different lengths, two images at once and none, mixed: every score stays with its item."""
    items: list[Item] = [(text, [image], "No nodule is seen.") for text in QUESTIONS for image in images]
    items += [("Hello", [], "There."), ("Compare.", images[:2], "Same."), ("?", [], "No.")]
    scored = answer_logprobs(vlm, items, batch=batch)
    for item, found in zip(items, scored, strict=True):
        torch.testing.assert_close(found, answer_logprobs(vlm, [item])[0], rtol=0, atol=1e-5)


def test_answers_about_one_image_read_it_once(
    vlm: VisionLanguageModel, images: list[np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tokens that went through the model: one prefix, then each question with its answer."""
    seen = []
    forward = vlm.forward

    def counted(input_ids: torch.Tensor, **options: Any) -> torch.Tensor:
        seen.append(tuple(input_ids.shape))
        return forward(input_ids, **options)

    monkeypatch.setattr(vlm, "forward", counted)
    answer_logprobs(vlm, [(text, images[:1], "No.") for text in QUESTIONS])
    prompts = [vlm.encode_prompt(text, images[:1]) for text in QUESTIONS]
    prefix = max(int(prompt.image_positions.nonzero()[-1]) + 1 for prompt in prompts)
    longest = max(map(len, prompts)) - prefix + len(vlm.encode_answer("No.").ids) - 1
    assert seen == [(1, prefix), (len(QUESTIONS), longest)]


def test_nucleus_keeps_the_fewest_tokens_that_reach_top_p() -> None:
    """Probabilities .5 .3 .15 .05 and top_p .7: .5 < .7, so the second is needed too: {0, 1} with 5/8 and 3/8."""
    scores = torch.log(torch.tensor([[0.3, 0.05, 0.5, 0.15]])).repeat(4000, 1)
    chooser = Chooser(Decoding(temperature=1.0, top_p=0.7), range(4000))
    tokens, logprobs = chooser(scores, range(4000))
    share = tokens.count(2) / 4000
    assert set(tokens) == {0, 2}
    assert share == pytest.approx(0.625, abs=4 * np.sqrt(0.625 * 0.375 / 4000))
    assert {round(np.exp(value), 4) for value in logprobs} == {0.3, 0.5}


def test_temperature_flattens() -> None:
    """Logits ln 4 and 0 at temperature 2 are ln 2 and 0: probabilities 2/3 and 1/3."""
    scores = torch.log(torch.tensor([[4.0, 1.0]])).repeat(4000, 1)
    tokens, _ = Chooser(Decoding(temperature=2.0), range(4000))(scores, range(4000))
    assert tokens.count(0) / 4000 == pytest.approx(2 / 3, abs=4 * np.sqrt(2 / 9 / 4000))


def test_seeds_come_from_content() -> None:
    assert derive_seed(0, "a", 1) == derive_seed(0, "a", 1)
    assert len({derive_seed(0, "a", 1), derive_seed(0, "a1"), derive_seed("0", "a", 1), derive_seed(1, "a", 0)}) == 4
    assert 0 <= derive_seed("x") < 2**63


@pytest.mark.parametrize("batch", [1, 5])
def test_first_tokens_are_as_likely_as_their_answers_begin(
    vlm: VisionLanguageModel, images: list[np.ndarray], batch: int
) -> None:
    """Brute force: the first token of each whole answer, scored on its own, summed over the forms of a choice."""
    choices = choice_tokens(vlm, ("yes", "no"))
    assert choices is not None
    questions = [(f"Is there a nodule {k}?", [images[k % 2]]) for k in range(4)] + [("Is it?", [])]
    found = first_logprobs(vlm, questions, choices, batch=batch)
    for (prompt, views), row in zip(questions, found, strict=True):
        for (lower, upper), value in zip((("yes", "Yes"), ("no", "No")), row, strict=True):
            first = {
                int(vlm.encode_answer(word).ids[0]): float(answer_logprobs(vlm, [(prompt, views, word)])[0][0].exp())
                for word in (lower, upper)
            }
            assert float(value.exp()) == pytest.approx(sum(first.values()), rel=1e-3)


def test_choices_that_begin_alike_cannot_be_told(vlm: VisionLanguageModel) -> None:
    assert choice_tokens(vlm, ("yes", "yes")) is None
