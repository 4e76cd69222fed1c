"""Settings of the stages: one strict struct each; every field is also a flag and a MEDPO_* variable.

The ``description`` of a field is its help text. Ranges are checked here and nowhere else.
"""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from medpo_cli.schema.objectives import AnyTerm

ShardName = Annotated[
    str,
    Meta(
        pattern=r"^([1-9][0-9]*/[1-9][0-9]*)?$(?!\n)",
        description="I/N, such as 2/8: the I-th of N equal parts of the input; medpo merge joins the outputs",
    ),
]


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Base of all settings."""


class ModelSettings(Settings, frozen=True, kw_only=True):
    """Which model, and how it is loaded."""

    model: Annotated[str, Meta(description="Hugging Face image-text model folder (default: the embedded demo)")] = ""
    adapter: Annotated[str, Meta(description="LoRA adapter folder to load on top")] = ""
    device: Annotated[str, Meta(description="auto, cpu, cuda or cuda:N")] = "auto"
    dtype: Annotated[
        Literal["auto", "float32", "bfloat16", "float64"], Meta(description="weights' type; auto: float32 on CPU")
    ] = "auto"
    quantize: Annotated[
        Literal["none", "nf4"], Meta(description="nf4: language model in 4 bit (bitsandbytes), tower untouched")
    ] = "none"
    trust_remote_code: Annotated[bool, Meta(description="run code that the model folder brings")] = False
    seed: Annotated[int, Meta(ge=0, description="seed of everything random in this stage")] = 0


class SampleConfig(ModelSettings, frozen=True, kw_only=True):
    """Settings of ``medpo sample``."""

    n: Annotated[int, Meta(ge=1, description="answers per case; above 1 needs a temperature")] = 1
    temperature: Annotated[float, Meta(ge=0, description="0: greedy")] = 0.0
    top_p: Annotated[float, Meta(gt=0, le=1, description="nucleus sampling")] = 1.0
    max_tokens: Annotated[int, Meta(ge=1, description="longest answer in tokens")] = 256
    batch: Annotated[int, Meta(ge=1, description="answers generated together")] = 16
    endpoint: Annotated[str, Meta(description="OpenAI-compatible base URL instead of a local model")] = ""
    endpoint_model: Annotated[str, Meta(description="model name sent to the endpoint")] = ""
    allow_public_endpoint: Annotated[bool, Meta(description="permit an endpoint outside private networks")] = False
    shard: ShardName = ""

    def __post_init__(self) -> None:
        """A shard's number is one of its total."""
        check_shard(self.shard)

    @property
    def cases_together(self) -> int:
        """Cases whose answers are generated together: what their numbers are the same in."""
        return max(1, self.batch // self.n)


def check_shard(name: str) -> None:
    """Raise ValueError for a shard above its total."""
    number, _, total = name.partition("/")
    if name and int(number) > int(total):
        raise ValueError(f"shard: {name} is above its total; the last one is {total}/{total}")


class EditConfig(ModelSettings, frozen=True, kw_only=True):
    """Settings of ``medpo edit``."""

    editor: Annotated[
        Literal["rules", "hf", "http"],
        Meta(description="who proposes edits: rules; hf: a local model (--model); http: a server (--endpoint)"),
    ] = "rules"
    model: Annotated[str, Meta(description="editor hf: Hugging Face image-text model folder")] = ""
    adapter: Annotated[str, Meta(description="editor hf: LoRA adapter folder to load on top")] = ""
    endpoint: Annotated[str, Meta(description="editor http: OpenAI-compatible base URL")] = ""
    endpoint_model: Annotated[str, Meta(description="model name sent to the endpoint")] = ""
    allow_public_endpoint: Annotated[bool, Meta(description="permit an endpoint outside private networks")] = False
    jobs: Annotated[int, Meta(ge=1, le=64, description="editor http: requests under way at once")] = 8
    cache: Annotated[str, Meta(description="folder that keeps an editor's replies (they hold words of reports)")] = ""
    emit: Annotated[
        Literal["pairs", "ranking"],
        Meta(description="pairs; ranking: all answers of a sample with rewards (perpo, s-dpo, p3o)"),
    ] = "pairs"
    reward: Annotated[
        Literal["facts", "exact", "edit-distance", "box-iou"],
        Meta(description="of a ranking: F1 of the facts (closed: exact), same answer, letters kept, overlap of boxes"),
    ] = "facts"
    box_unit: Annotated[
        Literal["pixels", "thousandths"],
        Meta(description="reward box-iou: what boxes without a tag count (Qwen3-VL writes thousandths)"),
    ] = "pixels"
    per_sample: Annotated[int, Meta(ge=1, description="counterfactuals per right answer")] = 1
    balance: Annotated[
        bool, Meta(description="also protect a corrected answer: one more pair with a right statement made wrong")
    ] = True
    normality_cap: Annotated[float, Meta(ge=0, le=1, description="largest share of normality edits")] = 0.25
    lexicon: Annotated[str, Meta(description="TOML file with further findings and synonyms")] = ""
    sentence_labels: Annotated[
        bool, Meta(description="mark the right sentences of chosen and the wrong ones of rejected (mask-dpo-sentence)")
    ] = False
    weights: Annotated[
        Literal["none", "clinical", "confidence", "tokens", "all"],
        Meta(
            description="weigh pairs by clinical urgency (mmedpo), smooth them by the editor's doubt (rosepo), "
            "weigh their words (tis-dpo), or all"
        ),
    ] = "none"
    degrees: Annotated[bool, Meta(description="say how much of the reference each answer has lost (spo)")] = False
    tokenizer: Annotated[str, Meta(description="model folder: each pair must also hold on its tokens")] = ""
    audit: Annotated[
        str, Meta(description="write a sample of the pairs for review to FILE.csv and FILE.html (with their text)")
    ] = ""
    audit_size: Annotated[int, Meta(ge=1, description="pairs in the audit, spread over the kinds of edits")] = 50
    apply_review: Annotated[
        str, Meta(description="reviewed CSV of an audit: INPUT is pairs, those it rejects are left out")
    ] = ""
    seed: Annotated[int, Meta(ge=0, description="seed of the choice among counterfactuals and of the audit")] = 0

    def __post_init__(self) -> None:
        """An audit, a tokenizer, labels and a review are about pairs; a review makes none."""
        for name in ("audit", "tokenizer", "sentence_labels", "weights", "degrees"):
            if getattr(self, name) == "none":
                continue
            if getattr(self, name) and self.emit == "ranking":
                raise ValueError(f"{name}: only for pairs, not for --emit ranking")
            if getattr(self, name) and self.apply_review:
                raise ValueError(f"{name}: not together with --apply-review, which makes no pairs")


class MasksConfig(ModelSettings, frozen=True, kw_only=True):
    """Settings of ``medpo masks``."""

    regions: Annotated[
        Literal["command", "saliency"],
        Meta(description="command: of --mask-cmd; saliency: where --model itself looks (circular as evidence)"),
    ] = "command"
    mask_cmd: Annotated[
        str, Meta(description="command that finds masks, in its own environment (docs/how-to/regions.md)")
    ] = ""
    targets: Annotated[
        str, Meta(description="what to look for in records that name nothing, as A,B (pairs name it in their spans)")
    ] = ""
    min_score: Annotated[float, Meta(ge=0, le=1, description="masks of a lower score are left out")] = 0.0
    mask_timeout: Annotated[float, Meta(gt=0, description="seconds that one mask may take")] = 120.0
    mask_startup: Annotated[float, Meta(gt=0, description="seconds until the command says that it is ready")] = 600.0
    mask_log: Annotated[str, Meta(description="file for what the command writes to its standard error")] = ""
    saliency: Annotated[Literal["gradient", "occlusion", "attention"], Meta(description="how its look is measured")] = (
        "gradient"
    )
    saliency_share: Annotated[float, Meta(gt=0, le=0.4, description="share of the picture that is marked")] = 0.05
    replace: Annotated[bool, Meta(description="also look for what a record has a region of; the new one holds")] = False
    lexicon: Annotated[str, Meta(description="TOML file with further findings and synonyms")] = ""
    lesion_slice: Annotated[
        bool, Meta(description="show a case's volume at the slice with most of its regions (masks only)")
    ] = False
    folder: Annotated[str, Meta(description="folder under the root for the NIfTI files")] = "masks"
    shard: ShardName = ""

    def __post_init__(self) -> None:
        """A shard's number is one of its total."""
        check_shard(self.shard)


class CorruptConfig(Settings, frozen=True, kw_only=True):
    """Settings of ``medpo corrupt``."""

    operator: Annotated[
        Literal[
            "harmonic-texture", "harmonic", "biharmonic", "mirror", "ring-noise", "ring-median", "blur", "shuffle",
            "gaussian", "diffusion", "replace", "patch-black", "area-crop",
        ],
        Meta(description="how the region is destroyed (gaussian: the paper's noise)"),
    ] = "harmonic-texture"  # fmt: skip
    grow: Annotated[
        Annotated[int, Meta(ge=0, le=32)] | None,
        Meta(description="pixels that regions are grown by first; without: 2 for operators that fill in, else 0"),
    ] = None
    feather: Annotated[
        int, Meta(ge=0, le=32, description="pixels inside the region's edge over which the change fades in")
    ] = 0
    sigma: Annotated[
        Annotated[float, Meta(gt=0)] | None,
        Meta(description="gaussian (45), replace (10): standard deviation on the 0-255 scale"),
    ] = None
    sigma_at: Annotated[
        Literal["source", "model"], Meta(description="noise is drawn for the file's pixels, or for the model's")
    ] = "source"
    timestep: Annotated[int, Meta(ge=0, le=999, description="diffusion: step of VCD's schedule")] = 500
    blur: Annotated[float, Meta(gt=0, le=4, description="blur: standard deviation in radii of the region")] = 0.5
    patch: Annotated[int, Meta(ge=1, description="patch-black: side of a patch in the model's pixels")] = 14
    patch_share: Annotated[float, Meta(gt=0, le=1, description="patch-black: share of the patches")] = 0.6
    model_side: Annotated[
        int, Meta(ge=16, le=8192, description="longest side of the model's picture, where proofs are measured")
    ] = 336
    max_remaining: Annotated[
        float, Meta(ge=0, description="reject if more of the finding's contrast is left, as a share (0: no limit)")
    ] = 0.0
    max_tell: Annotated[
        float, Meta(ge=0, description="reject if so many times rougher or smoother than around it (0: no limit)")
    ] = 0.0
    escalate: Annotated[
        bool,
        Meta(description="instead of rejecting try again: region grown by 1 to 3 more pixels, then other operators"),
    ] = False
    control: Annotated[bool, Meta(description="also write an equal region elsewhere")] = True
    fallback: Annotated[
        Literal["none", "whole"], Meta(description="without a region: no corrupted image, or the whole image")
    ] = "none"
    ladder: Annotated[
        int, Meta(ge=0, description="also write images between clean and corrupted, so many in all (method lpoi)")
    ] = 0
    images: Annotated[str, Meta(description="folder under the root for the NIfTI files")] = "corrupted"
    jobs: Annotated[int, Meta(ge=1, le=256, description="worker processes; the output does not depend on it")] = 1
    seed: Annotated[int, Meta(ge=0, description="run seed of noise and texture")] = 0
    shard: ShardName = ""

    def __post_init__(self) -> None:
        """A tell is a ratio, and at 1 nothing would pass; a shard's number is one of its total."""
        check_shard(self.shard)
        if 0 < self.max_tell <= 1:
            raise ValueError("max_tell: above 1 (region and surroundings alike), or 0 for no limit")


Method = Literal[
    "fire-mpo",
    "fire-mpo-v1",
    "fire-mpo-v2",
    "dpo",
    "ipo",
    "hinge",
    "robust",
    "nca",
    "apo-zero",
    "apo-down",
    "sppo",
    "simpo",
    "orpo",
    "kto",
    "rpo",
    "rpo-sum",
    "mask-dpo",
    "mask-dpo-sentence",
    "rrpo",
    "mdpo",
    "perpo",
    "s-dpo",
    "lpoi",
    "tis-dpo",
    "tis-dpo-kl",
    "tdpo1",
    "tdpo2",
    "ddpo",
    "mmedpo",
    "rosepo",
    "sympo",
    "mrpo",
    "opa-dpo",
    "sft",
    "spo",
    "p3o",
]


class AlignConfig(ModelSettings, frozen=True, kw_only=True):
    """Settings of ``medpo align``.

    Rank, alpha and objective weights are the paper's. The paper's learning rate of 1e-6 goes with
    rank-stabilised scaling (alpha/sqrt(rank) = 22.6); under plain scaling (2) the same step is 1e-5.
    """

    method: Annotated[
        Method,
        Meta(description="objective; see docs/reference/methods.md"),
    ] = "fire-mpo"
    beta: Annotated[float | None, Meta(description="strength of the ranking (method's default)")] = None
    gamma: Annotated[float | None, Meta(description="weight of the reversed ranking under the corrupted image")] = None
    alpha: Annotated[float | None, Meta(description="weight of the token-wise KL")] = None
    kl_forward: Annotated[
        float | None, Meta(description="share of KL(reference||policy); the rest is KL(policy||reference)")
    ] = None
    kl_scope: Annotated[Literal["span", "response"] | None, Meta(description="tokens the KL covers")] = None
    nll: Annotated[float | None, Meta(description="weight of the mean token likelihood of the chosen answer")] = None
    papo: Annotated[
        float | None, Meta(description="weight of the rewarded divergence from the corrupted image (PAPO)")
    ] = None
    terms: Annotated[
        list[AnyTerm] | None, Meta(description="terms of an own objective instead of a method ([[align.terms]])")
    ] = None
    lora: Annotated[bool, Meta(description="plain LoRA: the default; overrides a configured qlora")] = False
    qlora: Annotated[bool, Meta(description="LoRA with the language model in 4 bit (nf4)")] = False
    rank: Annotated[int, Meta(ge=1, description="LoRA rank")] = 128
    lora_alpha: Annotated[float, Meta(gt=0, description="LoRA scaling numerator")] = 256.0
    lora_dropout: Annotated[float, Meta(ge=0, lt=1, description="LoRA dropout")] = 0.0
    use_rslora: Annotated[bool, Meta(description="rank-stabilised scaling alpha/sqrt(rank)")] = False
    lr: Annotated[float, Meta(gt=0, description="learning rate")] = 1e-5
    epochs: Annotated[float, Meta(gt=0, description="passes over the pairs")] = 1.0
    batch: Annotated[int, Meta(ge=1, description="pairs per optimizer step")] = 8
    warmup: Annotated[float, Meta(ge=0, le=1, description="share of steps with rising learning rate")] = 0.0
    schedule: Annotated[Literal["constant", "cosine", "linear"], Meta(description="learning rate after warm-up")] = (
        "cosine"
    )
    max_grad_norm: Annotated[float, Meta(gt=0, description="gradient clipping")] = 1.0
    optimizer: Annotated[
        Literal["adamw", "adamw8bit"], Meta(description="adamw8bit: moments in 8 bit (bitsandbytes)")
    ] = "adamw"
    checkpointing: Annotated[
        Literal["auto", "on", "off"],
        Meta(description="compute layers again instead of keeping them; auto: only if one row does not fit"),
    ] = "auto"
    max_memory: Annotated[float, Meta(ge=0, description="GiB the run may take (0: what the device has free)")] = 0.0
    merge: Annotated[str, Meta(description="also write base and adapter as one model folder here")] = ""
    estimate: Annotated[bool, Meta(description="say what memory the run would take, and stop")] = False
    max_grad_growth: Annotated[
        float, Meta(ge=0, description="stop when the gradient norm is so many times the usual one (0: never)")
    ] = 1000.0
    max_length: Annotated[
        int,
        Meta(ge=0, description="longest prompt, images and answer in tokens; longer pairs are rejected (0: model's)"),
    ] = 0
    held_out: Annotated[
        float, Meta(ge=0, le=0.5, description="share of the pairs, in whole groups, to measure on and never train on")
    ] = 0.0
    held_out_every: Annotated[
        int, Meta(ge=0, description="steps between measurements on them (0: after each epoch)")
    ] = 0
    early_stop: Annotated[
        int,
        Meta(
            ge=0, description="stop after so many measurements without a better held-out loss; keep the best (0: off)"
        ),
    ] = 0
    checkpoint_every: Annotated[int, Meta(ge=1, description="steps between checkpoints")] = 50
    checkpoint_minutes: Annotated[float, Meta(ge=0, description="minutes between checkpoints, too (0: off)")] = 0.0
    keep_last: Annotated[int, Meta(ge=1, description="checkpoints kept")] = 2
    group_by_image: Annotated[
        bool, Meta(description="put records about one image into the same step, where they share its pass")
    ] = False
    reference_cache: Annotated[
        str, Meta(description="folder that keeps what the reference says, for later epochs and other runs")
    ] = ""
    reference_adapter: Annotated[str, Meta(description="adapter folder of the second reference (method mrpo)")] = ""
    engine: Annotated[Literal["auto", "forest", "rows"], Meta(description="shared prefixes, or plain masked rows")] = (
        "auto"
    )
    verify: Annotated[int, Meta(ge=0, description="pairs compared between forest and rows before training")] = 1
    curves: Annotated[bool, Meta(description="draw OUT.curves.png at the end")] = True
    tensorboard: Annotated[str, Meta(description="folder for TensorBoard event files (needs tensorboard)")] = ""

    def __post_init__(self) -> None:
        """What is measured on held-out pairs needs held-out pairs."""
        for name in ("held_out_every", "early_stop"):
            if getattr(self, name) and not self.held_out:
                raise ValueError(f"{name}: needs held_out")


class EvalConfig(ModelSettings, frozen=True, kw_only=True):
    """Settings of ``medpo eval``."""

    profile: Annotated[
        Literal["medpo", "llavamed", "medevalkit", "medevalkit-asreported", "lmms-slake"],
        Meta(description="rules for short answers: medpo's, or those of a published harness, defects included"),
    ] = "medpo"
    baseline: Annotated[bool, Meta(description="with --adapter: score the base model too and compare")] = True
    grounding: Annotated[bool, Meta(description="also answer under corrupted and control images")] = True
    blind: Annotated[bool, Meta(description="also answer with a blank picture, and another case's")] = False
    attention: Annotated[
        bool, Meta(description="also measure where the model looks: attention by layer, gradient x input, VGMED")
    ] = False
    max_tokens: Annotated[int, Meta(ge=1, description="longest answer in tokens")] = 256
    batch: Annotated[int, Meta(ge=1, description="answers generated together")] = 16
    bootstrap: Annotated[int, Meta(ge=100, description="bootstrap resamples")] = 10000
    html: Annotated[str, Meta(description="write a self-contained page here")] = ""
    html_cases: Annotated[
        int, Meta(ge=0, description="cases to look through on the page, changed ones first, as far as 20 MB allow")
    ] = 60
    steps: Annotated[str, Meta(description="with --html: step records of the alignment, drawn as curves")] = ""
    compare: Annotated[
        str, Meta(description="scores of an earlier run (A), of several seeds as A1,A2: compare INPUT (B) with them")
    ] = ""
    runs: Annotated[str, Meta(description="with --compare: scores of B's further training seeds, as B2,B3")] = ""
    declare: Annotated[
        str, Meta(description="measures tested, as M1,M2: p of the comparison is adjusted for their number (Holm)")
    ] = ""
    gate: Annotated[str, Meta(description="TOML file of bounds; exit 3 if one does not hold")] = ""
    wording: Annotated[
        bool, Meta(description="also ROUGE-1, ROUGE-2 and CIDEr of reports; scores then hold the references")
    ] = False
    metrics: Annotated[
        str, Meta(description="TOML file of programs that score reports from local weights; a missing one is skipped")
    ] = ""
    require: Annotated[str, Meta(description="with --metrics: those that may not be missing, as M1,M2 (exit 69)")] = ""
    judge: Annotated[
        Literal["none", "http"],
        Meta(description="http: a server (--endpoint) also judges reports and open answers against the reference"),
    ] = "none"
    endpoint: Annotated[str, Meta(description="judge http: OpenAI-compatible base URL")] = ""
    endpoint_model: Annotated[str, Meta(description="model name sent to the endpoint")] = ""
    allow_public_endpoint: Annotated[bool, Meta(description="permit an endpoint outside private networks")] = False
    jobs: Annotated[int, Meta(ge=1, le=64, description="judge http: requests under way at once")] = 8
    cache: Annotated[str, Meta(description="folder that keeps a judge's verdicts (they hold no words of reports)")] = ""
    judge_cases: Annotated[
        str, Meta(description="with --compare: cases of both runs; the judge says which answer is better, both orders")
    ] = ""
    judge_fairness: Annotated[
        int, Meta(ge=0, description="pairs on which the wordings are tried, to take the fairest (ZEPO); 0: the first")
    ] = 10
    with_text: Annotated[bool, Meta(description="show prompts and answers on the page")] = False
    lexicon: Annotated[str, Meta(description="TOML file with further findings and synonyms")] = ""


class StreamConfig(Settings, frozen=True, kw_only=True):
    """Settings that every stage shares: streams, safety, cron."""

    root: Annotated[str, Meta(description="folder that record paths are relative to (default: the input's)")] = ""
    allow_outside: Annotated[bool, Meta(description="accept paths that leave the root")] = False
    on_bad: Annotated[Literal["skip", "fail"], Meta(description="bad records: skip and count, or stop")] = "skip"
    rejects: Annotated[str, Meta(description="file for reject records (default with -o: OUT.rejects.jsonl)")] = ""
    require_end: Annotated[bool, Meta(description="exit 65 if the input lacks its end record (was cut off)")] = False
    force: Annotated[bool, Meta(description="replace an existing output")] = False
    resume: Annotated[bool, Meta(description="go on with an unfinished output")] = False
    manifest: Annotated[str, Meta(description="run manifest for a pipe (default with -o: OUT.run.json)")] = ""
    dry_run: Annotated[bool, Meta(description="check settings and input, write nothing")] = False
    lock: Annotated[str, Meta(description="exit 75 if another run holds this lock")] = ""
    max_minutes: Annotated[float, Meta(ge=0, description="save and exit 75 after this long (0: no limit)")] = 0.0
    quiet: Annotated[bool, Meta(description="only warnings and errors")] = False
    log_file: Annotated[str, Meta(description="append messages here, with times")] = ""
    log_json: Annotated[bool, Meta(description="messages as JSON lines")] = False
