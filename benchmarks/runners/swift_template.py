"""Loaded by ms-swift (``--external_plugins``): the chat template of the benchmark's models."""

from swift.template.register import TemplateMeta, register_template
from swift.template.templates.llava import LlavaHfTemplate


class BenchTemplate(LlavaHfTemplate):
    """One placeholder without a line break behind it."""

    def replace_tag(self, media_type, index, inputs):  # type: ignore[no-untyped-def]
        """The image's mark in the text."""
        return ["<image>"]


register_template(
    TemplateMeta(
        "bench",
        prefix=[],
        prompt=["<|user|>{{QUERY}}<|end|><|assistant|>"],
        chat_sep=["<|end|>"],
        suffix=["<|end|>"],
        template_cls=BenchTemplate,
    )
)
