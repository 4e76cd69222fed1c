"""Prompt and answer are joined as ids: one string would be cut differently where they meet."""

import torch
from data.training_pairs import picture, tiny

from medpo_cli.schema.records import ImageRef, Pair, Span
from medpo_cli.training.encoder import Encoder
from medpo_cli.training.layout import bundles, collate, tree_row
from medpo_cli.training.objectives.methods import resolve

CHOSEN, REJECTED = "\nThere is a left nodule.", "\nThere is a right nodule."


def test_a_line_break_that_would_merge_with_the_templates_own_stays_a_token_of_the_answer() -> None:
    """The template ends with a line break, the tokenizer knows two of them as one token, the answer starts with one."""
    vlm = tiny("llava")
    vlm.tokenizer.add_tokens(["\n\n"])
    vlm.processor.chat_template = vlm.processor.chat_template.replace("<|assistant|>", "<|assistant|>\n")
    side = Span(kind="side", chosen=(12, 16), rejected=(12, 17), source="t")
    pair = Pair(
        id="p", image=ImageRef(path="a"), prompt="Is there a nodule?", task="vqa-open", chosen=CHOSEN,
        rejected=REJECTED, origin="corrected", spans=[side],
    )  # fmt: skip
    units = Encoder(vlm, resolve("dpo"), picture).example(pair, 0).units
    prompt = vlm.encode_prompt(pair.prompt, [picture(pair.images[0])]).input_ids.tolist()
    content = [{"type": "image"}, {"type": "text", "text": pair.prompt}]
    text = vlm.processor.apply_chat_template([{"role": "user", "content": content}], add_generation_prompt=True)
    for answer, said in zip(units[0].answers, (CHOSEN, REJECTED), strict=True):
        assert answer.prompt.tokens.ids == prompt
        assert answer.ids == [*vlm.tokenizer(said, add_special_tokens=False)["input_ids"], vlm.end_id]
        merged = vlm.tokenizer(text + said, add_special_tokens=False)["input_ids"]
        assert vlm.tokenizer("\n\n")["input_ids"][0] in merged  # so the test could fail
        alone = tree_row([answer]).ids.tolist()
        assert alone == prompt + answer.ids[:-1]  # the last token is only predicted
    layout = collate(bundles(units, forest=True), forest=True, device=torch.device("cpu"), family=vlm.family)
    assert vlm.tokenizer("\n\n")["input_ids"][0] not in layout.input_ids
