"""Every method from records to gradients: the engine against one plain forward pass for each sequence."""

import inspect
from dataclasses import replace
from typing import Any

import msgspec
import pytest
import torch
from data.method_records import LADDER, rankings, records_for, rich_pairs
from data.training_pairs import PAIRS, encode, engine, gradients, picture, tiny
from PIL import Image
from torch import Tensor

from medpo_cli.errors import RecordError
from medpo_cli.models.base import VisionLanguageModel
from medpo_cli.models.lora import SECOND
from medpo_cli.schema.objectives import KTO, Degree
from medpo_cli.schema.records import Case, ImageRef, Pair, Ranking
from medpo_cli.training import auxiliary
from medpo_cli.training.encoder import connected, with_mismatches
from medpo_cli.training.engine import Engine
from medpo_cli.training.needs import check_fields
from medpo_cli.training.objectives.evaluate import evaluate
from medpo_cli.training.objectives.methods import resolve
from medpo_cli.training.objectives.scored import Scored
from medpo_cli.training.objectives.table import METHODS
from medpo_cli.training.objectives.terms import kl_rows
from medpo_cli.training.reference import Reference

SETTINGS: dict[str, dict[str, Any]] = {"dpo": {"papo": 0.05}}


def one_pass(vlm: VisionLanguageModel, image: ImageRef, prompt: str, text: str, adapter: str) -> tuple[Tensor, Tensor]:
    """Log-probabilities [T, V] at the answer's tokens and their states [T, H], in one plain pass."""
    content = [{"type": "image"}, {"type": "text", "text": prompt}]
    words = vlm.processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    inputs: dict[str, Any] = dict(
        vlm.processor(images=[Image.fromarray(picture(image))], text=[words], return_tensors="pt")
    )
    answer = vlm.encode_answer(text).ids
    ids = torch.cat([inputs.pop("input_ids")[0], answer])[None]
    inputs["pixel_values"] = inputs["pixel_values"].to(vlm.dtype)
    inputs["attention_mask"] = torch.ones_like(ids)
    for name in ("token_type_ids", "mm_token_type_ids"):
        if name in inspect.signature(vlm.base.forward).parameters:
            inputs[name] = (ids == vlm.image_token_id).int()
    run = vlm.model if adapter != "off" else vlm.base
    output = run(input_ids=ids, output_hidden_states=True, **inputs)
    start = ids.shape[1] - len(answer) - 1
    return output.logits[0, start:-1].log_softmax(-1), output.hidden_states[-1][0, start:-1]


def naive(vlm: VisionLanguageModel, image: ImageRef, record: Case, text: str, head: Any, **more: Any) -> Scored:
    """One sequence, every pass by itself, full logits."""
    rows, states = one_pass(vlm, image, record.prompt, text, "")
    with torch.no_grad():
        with vlm.model.disable_adapter():
            reference, _ = one_pass(vlm, image, record.prompt, text, "off")
        second = None
        if SECOND in vlm.model.peft_config:
            vlm.model.set_adapter(SECOND)
            second, _ = one_pass(vlm, image, record.prompt, text, "")
            vlm.model.set_adapter("default")
    labels = vlm.encode_answer(text).ids
    at = torch.arange(len(labels))
    forward_kl, reverse_kl = kl_rows(rows, reference)
    length = len(labels)
    masks = {name: torch.tensor([more.get(name, [False] * length)]) for name in ("span", "sentence")}
    return Scored(
        rows[at, labels][None],
        reference[at, labels][None],
        masks["span"],
        torch.ones(1, length, dtype=torch.bool),
        masks["sentence"],
        torch.tensor([more["weights"]], dtype=torch.float64) if more.get("weights") else None,
        forward_kl[None],
        reverse_kl[None],
        None if second is None else second[at, labels][None],
        None if head is None else head(states[-1:]),
        torch.zeros(1, dtype=torch.long),
        {name: torch.tensor([value], dtype=torch.float64) for name, value in more.get("facts", {}).items()},
    )


def covered(vlm: VisionLanguageModel, text: str, spans: list[tuple[int, int]]) -> list[bool]:
    inside = {i for start, end in spans for i in range(start, end) if text[i] != " "}
    return [bool(inside & set(range(s, e))) for s, e in vlm.encode_answer(text).offsets]


def naive_batch(vlm: VisionLanguageModel, record: Case, names: set[str], head: Any) -> dict[str, Scored]:
    """The sequences ``names`` of one record."""
    if isinstance(record, Ranking):
        order = sorted(range(len(record.responses)), key=lambda i: -record.responses[i].reward)
        parts = []
        for i in order:
            facts = {"reward": record.responses[i].reward, "old": record.ext["align"]["old_logprobs"][i]}  # type: ignore[index]
            parts.append(naive(vlm, record.images[0], record, record.responses[i].text, head, facts=facts))
        return {"*": joined(parts)}
    assert isinstance(record, Pair)
    assert record.corrupted
    assert record.ext
    extra, found = record.ext["align"], {}
    images = {"": record.images[0], "'": record.corrupted.image, "2:": ImageRef(path="g.png")}
    for name in names:
        prefix, answer = name[:-1], name[-1]
        side = {"-": "rejected"}.get(answer, "chosen")
        text = {"r": record.reference, "2": extra["twin"]["answer"]}.get(answer) or getattr(record, side)
        spans = [getattr(span, side) for span in record.spans] if answer in "+-" else []
        facts = {"flip": record.weights.flip, "there": 1.0, "degree": extra["degree"][side]}  # type: ignore[union-attr]
        more = {
            "span": covered(vlm, text, spans),
            "sentence": [True] * (len(vlm.encode_answer(text).ids) - 1) + [False],  # one sentence each
            "weights": [*extra["token_weights"][side], 0.0] if answer in "+-" else [],
            "facts": facts,
        }
        if name == "#":
            found[name] = joined([naive(vlm, ImageRef(path=path), record, text, head, **more) for path in LADDER])
        else:
            found[name] = naive(vlm, images[prefix], record, text, head, **more)
    return found


def joined(parts: list[Scored]) -> Scored:
    """Entries of one list, padded."""
    pad = torch.nn.utils.rnn.pad_sequence
    columns = {
        name: pad([getattr(part, name)[0] for part in parts], batch_first=True)
        for name in ("policy", "reference", "span", "response")
    }
    facts = {name: torch.cat([part.facts[name] for part in parts]) for name in parts[0].facts}
    return Scored(**columns, owner=torch.zeros(len(parts), dtype=torch.long), facts=facts)


def prepared(kind: str, method: str) -> tuple[VisionLanguageModel, Any, Any]:
    vlm = tiny(kind, torch.float64)
    terms = resolve(method, **SETTINGS.get(method, {}))
    if method == "mrpo":
        vlm.model.add_adapter(SECOND, replace(vlm.model.peft_config["default"], r=2))
        vlm.model.set_adapter("default")
        for name, parameter in vlm.model.named_parameters():
            if SECOND in name and "lora_B" in name:
                parameter.data = 0.3 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(7)).double()
    head = auxiliary.add_head(vlm, terms)
    if head is not None:
        head.weight.data = torch.randn(head.weight.shape, generator=torch.Generator().manual_seed(3)).double()
    return vlm, terms, head


def engine_for(vlm: VisionLanguageModel, terms: Any, encoder: Any, head: Any, *, forest: bool) -> Engine:
    run = engine(vlm, terms, encoder, forest=forest)
    run.auxiliary = head
    run.second = Reference(vlm, 0, adapter=SECOND) if SECOND in vlm.model.peft_config else None
    return run


@pytest.mark.parametrize("method", sorted(METHODS))
def test_loss_and_gradients_equal_the_naive_form(method: str) -> None:
    vlm, terms, head = prepared("llava", method)
    records = records_for(method, vlm)
    encoder, examples = encode(vlm, terms, records)  # type: ignore[arg-type]
    if any(isinstance(term, KTO) for term in terms):
        examples = with_mismatches(examples)
    names = {name for term in terms for name in term.sequences}
    batches = [naive_batch(vlm, record, names, head) for record in records]
    base = naive_base(vlm, records) if method == "kto" else torch.zeros((), dtype=torch.float64)
    expected = sum(
        (record.weights.example if isinstance(record, Pair) and record.weights else 1.0)  # type: ignore[operator]
        * term.weight
        * evaluate(term, batch, base).sum()
        for record, batch in zip(records, batches, strict=True)
        for term in terms
    )
    expected.backward()  # type: ignore[union-attr]
    wanted = gradients(vlm)
    for forest in (True, False):
        tally = engine_for(vlm, terms, encoder, head, forest=forest).accumulate(examples, 1.0)
        found = gradients(vlm)
        assert tally.sums["loss"].item() == pytest.approx(expected.item(), abs=1e-10)  # type: ignore[union-attr]
        scale = max(float(g.abs().max()) for g in wanted.values())
        assert scale > 1e-6
        assert max(float((found[name] - wanted[name]).abs().max()) for name in wanted) <= 1e-10 * scale


def naive_base(vlm: VisionLanguageModel, records: list[Case]) -> Tensor:
    """z: mean log-ratio of the answers of the next record, at least 0."""
    ratios = []
    with torch.no_grad():
        for record, other in zip(records, [*records[1:], *records[:1]], strict=True):
            assert isinstance(other, Pair)
            for text in (other.chosen, other.rejected):
                ratios.append(naive(vlm, record.images[0], record, text, None).log_ratio("response"))
    return torch.cat(ratios).mean().clamp_min(0.0)


@pytest.mark.parametrize("kind", ["qwen2_5_vl", "internvl"])
@pytest.mark.parametrize("method", ["mdpo", "lpoi", "perpo", "sympo", "tdpo1"])
def test_units_of_several_images_in_other_families(kind: str, method: str) -> None:
    vlm, terms, head = prepared(kind, method)
    records = records_for(method, vlm)
    encoder, examples = encode(vlm, terms, records)  # type: ignore[arg-type]
    results = []
    for forest in (True, False):
        tally = engine_for(vlm, terms, encoder, head, forest=forest).accumulate(examples, 1.0)
        results.append((tally.sums["loss"].item(), gradients(vlm)))
    (loss, shared), (other, plain) = results
    assert loss == pytest.approx(other, abs=1e-10)
    scale = max(float(g.abs().max()) for g in plain.values())
    assert max(float((shared[name] - plain[name]).abs().max()) for name in plain) <= 1e-10 * scale


def test_logits_in_chunks_give_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    vlm, terms, _ = prepared("llava", "rrpo")
    encoder, examples = encode(vlm, terms, rich_pairs(vlm))  # type: ignore[arg-type]
    whole = engine(vlm, terms, encoder, forest=True).accumulate(examples, 1.0).sums["loss"]
    wanted = gradients(vlm)
    monkeypatch.setattr("medpo_cli.training.scoring.CHUNK", 5)
    assert engine(vlm, terms, encoder, forest=True).accumulate(examples, 1.0).sums["loss"].item() == pytest.approx(
        whole.item(), abs=1e-12
    )
    found = gradients(vlm)
    assert max(float((found[name] - wanted[name]).abs().max()) for name in wanted) <= 1e-13


def test_sequences_of_one_term_stay_in_one_unit() -> None:
    assert connected([("+", "-"), ("'-", "'+"), ("+",)]) == [["+", "-"], ["'-", "'+"]]
    assert connected([("+", "-"), ("'-", "'+"), ("+", "'+")]) == [["+", "-", "'-", "'+"]]
    assert connected([("a",), ("b",), ("c", "b"), ("a", "c")]) == [["a", "b", "c"]]


MISSING = [
    ("mdpo", {"corrupted": None}, "$.corrupted"),
    ("fire-mpo", {"spans": []}, "$.spans"),
    ("ddpo", {"spans": []}, "$.spans"),
    ("mmedpo", {"weights": None}, "$.weights.example"),
    ("rosepo", {"weights": None}, "$.weights.flip"),
    ("opa-dpo", {"reference": " "}, "$.reference"),
    ("tis-dpo", {"ext": None}, "$.ext.align.token_weights"),
    ("lpoi", {"ext": {}}, "$.ext.align.ladder"),
    ("sympo", {"ext": {"align": {}}}, "$.ext.align.twin"),
    ("spo", {"ext": {"align": {}}}, "$.ext.align.degree"),
    ("perpo", {}, "$.responses"),
]


@pytest.mark.parametrize(("method", "changes", "path"), MISSING)
def test_a_missing_field_is_named(method: str, changes: dict[str, Any], path: str) -> None:
    pair = msgspec.structs.replace(rich_pairs(tiny("llava"))[0], **changes)
    with pytest.raises(RecordError, match=f"method {method} needs this field") as caught:
        check_fields(pair, resolve(method), method)
    assert (caught.value.reason, caught.value.path) == ("field-missing", path)
    cure = {"mdpo": "medpo corrupt makes it", "perpo": "medpo edit --emit ranking makes it"}.get(method, "")
    assert cure in str(caught.value)


def test_rankings_that_cannot_be_used() -> None:
    ranking = rankings()[0]
    with pytest.raises(RecordError) as caught:
        check_fields(ranking, resolve("dpo"), "dpo")
    assert caught.value.path == "$.chosen"
    tied = msgspec.structs.replace(
        ranking, responses=[msgspec.structs.replace(r, reward=0.5) for r in ranking.responses]
    )
    with pytest.raises(RecordError, match="all rewards are equal"):
        check_fields(tied, resolve("perpo"), "perpo")
    with pytest.raises(RecordError, match="exactly two"):
        check_fields(ranking, resolve("p3o"), "p3o")
    two = msgspec.structs.replace(rankings(2)[0], ext=None)
    with pytest.raises(RecordError) as caught:
        check_fields(two, resolve("p3o"), "p3o")
    assert caught.value.path == "$.ext.align.old_logprobs"


@pytest.mark.parametrize(
    ("align", "path"),
    [
        (3, "$.ext.align"),
        ({"laddr": []}, "$.ext.align"),
        ({"ladder": [{"path": "a.png"}]}, "$.ext.align.ladder"),
        ({"degree": {"chosen": -1, "rejected": 0}}, "$.ext.align.degree.chosen"),
        ({"only": "both"}, "$.ext.align.only"),
        ({"word_weights": {"chosen": [[0, 3, -1.0]], "rejected": []}}, "$.ext.align.word_weights.chosen[0][2]"),
        ({"word_weights": {"chosen": [[0, 3]], "rejected": []}}, "$.ext.align.word_weights.chosen[0]"),
    ],
)
def test_malformed_extras_are_refused(align: Any, path: str) -> None:
    pair = msgspec.structs.replace(PAIRS[0], ext={"align": align})
    with pytest.raises(RecordError) as caught:
        check_fields(pair, resolve("dpo"), "dpo")
    assert (caught.value.reason, caught.value.path) == ("extras-malformed", path)


def test_a_record_that_no_term_applies_to_is_refused() -> None:
    papo = [term for term in resolve("dpo", papo=0.1) if term.key == "papo"]
    bare = msgspec.structs.replace(PAIRS[0], corrupted=None)
    check_fields(bare, papo, "composed")  # each of its terms is optional
    with pytest.raises(RecordError) as caught:
        encode(tiny("llava"), papo, [bare])
    assert (caught.value.reason, caught.value.path) == ("no-signal", "$.corrupted")


def test_token_weights_must_fit_the_tokenizer() -> None:
    vlm = tiny("llava")
    pair = msgspec.structs.replace(PAIRS[0], ext={"align": {"token_weights": {"chosen": [1.0], "rejected": [1.0]}}})
    with pytest.raises(RecordError) as caught:
        encode(vlm, resolve("tis-dpo"), [pair])
    assert caught.value.reason == "weights-length"


def test_weights_of_words_are_those_of_their_tokens() -> None:
    vlm = tiny("llava")
    place = PAIRS[0].chosen.index("left")
    words = {"chosen": [[place, place + 4, 2.0]], "rejected": [], "rest": 0.5}
    pair = msgspec.structs.replace(PAIRS[0], ext={"align": {"word_weights": words}})
    _, (example,) = encode(vlm, resolve("tis-dpo"), [pair])
    for answer, word in zip(example.units[0].answers, ("left", ""), strict=True):
        heavy = [token for token, weight in zip(answer.ids, answer.weights, strict=True) if weight == 2.0]
        assert vlm.decode(heavy).strip() == word
        assert set(answer.weights) == ({0.0, 0.5, 2.0} if word else {0.0, 0.5})
        assert answer.weights[-1] == 0.0  # the end token
    given = {side: [1.0] * (len(vlm.encode_answer(getattr(pair, side)).ids) - 1) for side in ("chosen", "rejected")}
    both = msgspec.structs.replace(pair, ext={"align": {"word_weights": words, "token_weights": given}})
    _, (example,) = encode(vlm, resolve("tis-dpo"), [both])
    assert all(set(answer.weights) == {0.0, 1.0} for answer in example.units[0].answers)  # those of tokens go first


def test_kept_sentences_as_the_record_says() -> None:
    vlm = tiny("llava")
    text = "The heart is normal. There is a nodule."
    other = "The heart is normal. There is no nodule."
    pair = msgspec.structs.replace(PAIRS[0], chosen=text, rejected=other, spans=[msgspec.structs.replace(
        PAIRS[0].spans[0], chosen=(30, 31), rejected=(30, 32))])  # fmt: skip
    _, (example,) = encode(vlm, resolve("mask-dpo-sentence"), [pair])
    kept = {a.name: vlm.decode([a.ids[t] for t in a.needed]).strip() for a in example.units[0].answers}
    assert kept == {"+": text, "-": "There is no nodule."}  # all of the chosen; of the rejected what was edited
    given = msgspec.structs.replace(pair, ext={"align": {"keep": {"chosen": [[0, 20]], "rejected": [[0, 20]]}}})
    _, (example,) = encode(vlm, resolve("mask-dpo-sentence"), [given])
    kept = {a.name: vlm.decode([a.ids[t] for t in a.needed]).strip() for a in example.units[0].answers}
    assert kept == {"+": "The heart is normal.", "-": "The heart is normal."}


def test_an_unpaired_answer_counts_alone() -> None:
    vlm = tiny("llava", torch.float64)
    terms = resolve("kto")
    pair = msgspec.structs.replace(PAIRS[0], rejected="", spans=[], ext={"align": {"only": "chosen"}})
    check_fields(pair, terms, "kto")
    encoder, examples = encode(vlm, terms, [pair, PAIRS[1]])
    tally = engine(vlm, terms, encoder, forest=True).accumulate(with_mismatches(examples)[:1], 1.0)
    chosen = naive(vlm, pair.images[0], pair, pair.chosen, None).log_ratio("response")
    with torch.no_grad():
        others = [naive(vlm, pair.images[0], pair, text, None) for text in (PAIRS[1].chosen, PAIRS[1].rejected)]
    base = torch.stack([part.log_ratio("response")[0] for part in others]).mean().clamp_min(0)
    expected = torch.sigmoid(-0.1 * (chosen - base))
    assert tally.sums["loss"].item() == pytest.approx(expected.item(), abs=1e-10)


def test_an_untrained_policy_has_a_margin_of_exactly_zero_in_every_method() -> None:
    vlm = tiny("llava", adapted=False)
    for method in ("perpo", "s-dpo", "mdpo", "lpoi", "kto", "tdpo1", "rrpo"):
        terms = resolve(method)
        encoder, examples = encode(vlm, terms, records_for(method, vlm))  # type: ignore[arg-type]
        sums = engine(vlm, terms, encoder, forest=True).accumulate(with_mismatches(examples), 1.0).sums
        assert sums["chosen"].item() == sums["rejected"].item() == 0.0, method
        gradients(vlm)


def test_the_head_of_degrees_starts_flat_and_learns() -> None:
    vlm = tiny("llava", adapted=False)
    terms = resolve("spo")
    head = auxiliary.add_head(vlm, terms)
    assert head is not None
    assert next(term.classes for term in terms if isinstance(term, Degree)) == head.out_features == 5
    encoder, examples = encode(vlm, terms, rich_pairs(vlm))  # type: ignore[arg-type]
    tally = engine_for(vlm, terms, encoder, head, forest=True).accumulate(examples, 1.0)
    assert tally.sums["degree"].item() / len(examples) == pytest.approx(2 * 1.6094379, abs=1e-5)  # 2 ln 5
    assert head.weight.grad is not None
    assert head.weight.grad.any()
    wrong = msgspec.structs.replace(rich_pairs(vlm)[0], ext={"align": {"degree": {"chosen": 0, "rejected": 9}}})
    with pytest.raises(RecordError) as caught:
        check_fields(wrong, terms, "spo")
    assert (caught.value.reason, caught.value.path) == ("degree", "$.ext.align.degree")
