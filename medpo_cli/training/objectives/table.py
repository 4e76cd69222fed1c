r"""Which terms each method is made of: one literal table.

Paper symbols, written once. For a record with image v, corrupted image v', question x, preferred answer
y+ and rejected answer y-, with span masks m and log-ratios s(v, y) = sum_t log pi - log pi_ref:

    rank    = -log sigmoid(beta [ s_m(v, y+) - s_m(v, y-) ])
    visual  = -log sigmoid(beta [ s_m(v', y-) - s_m(v', y+) ])         0 where the record has no v'
    kl      = sum_{t in m(y+)} lambda KL(pi_ref || pi)_t + (1 - lambda) KL(pi || pi_ref)_t   under v
    nll     = - mean_t log pi(y+_t | v, x, y+_<t)

    fire-mpo  L = rank + gamma visual + alpha kl          (2606.12590: beta .1, gamma .1, alpha .01, lambda .5)

The plus before ``alpha kl`` follows the released code of FiRe-MPO; the minus printed in its equation would
reward drift. The loss of a step is the mean over all its records, also those without v'. The other methods,
their equations, sources and what was decided where paper and code differ: docs/reference/methods.md.
"""

from dataclasses import dataclass
from typing import Any

import msgspec

from medpo_cli.schema.objectives import (
    KL,
    KTO,
    NLL,
    Anchor,
    Degree,
    MarginSquare,
    Odds,
    PairList,
    PlackettLuce,
    PolicyGradient,
    Rank,
    Term,
    TopOne,
)


@dataclass(frozen=True)
class Method:
    """One named objective.

    Attributes:
        terms: what it is made of.
        source: where it was published.
        equation: in the notation above.
        decided: what medpo does where text and code differ, or where a number could not be verified.
    """

    terms: tuple[Term, ...]
    source: str
    equation: str
    decided: str = ""


_SPAN = Rank(name="rank", scope="span")
_ALL = Rank(name="rank")
_VISUAL = Rank(name="visual", better="'-", worse="'+", scope="span", weight=0.1, optional=True)
_KL = KL(weight=0.01)


def _linked(link: str, **settings: Any) -> tuple[Term, ...]:
    return (msgspec.structs.replace(_ALL, link=link, **settings),)


METHODS: dict[str, Method] = {
    "fire-mpo": Method(
        (_SPAN, _VISUAL, _KL),
        "2606.12590 (FiRe-MPO)",
        "rank + gamma visual + alpha kl",
        "Plus before the KL (released code). One mask for both KL directions. Records without v' still count in the "
        "mean. Masks mark the token that is predicted.",
    ),
    "fire-mpo-v1": Method(
        (_SPAN, msgspec.structs.replace(_VISUAL, better="+", worse="'+"), _KL),
        "2606.12590, ablation v1",
        "rank + gamma [-log sigmoid(beta (s_m(v, y+) - s_m(v', y+)))] + alpha kl",
    ),
    "fire-mpo-v2": Method(
        (_SPAN, msgspec.structs.replace(_VISUAL, better="+", worse="'-"), _KL),
        "2606.12590, ablation v2",
        "rank + gamma [-log sigmoid(beta (s_m(v, y+) - s_m(v', y-)))] + alpha kl",
    ),
    "dpo": Method((_ALL,), "2305.18290", "-log sigmoid(beta [s(y+) - s(y-)])"),
    "ipo": Method(
        _linked("ipo", norm="mean"),
        "2310.12036",
        "(mean-token s(y+) - mean-token s(y-) - 1 / (2 beta))^2",
        'Token means, as TRL has it; the sum is a composed term with norm = "sum".',
    ),
    "hinge": Method(_linked("hinge"), "2305.10425 (SLiC)", "max(0, 1 - beta [s(y+) - s(y-)])"),
    "robust": Method(
        _linked("robust", epsilon=0.2),
        "2403.00409",
        "[(1 - e) (-log sigmoid z) - e (-log sigmoid -z)] / (1 - 2e), z = beta [s(y+) - s(y-)]",
    ),
    "nca": Method(_linked("nca"), "2402.05369", "-log sigmoid r+ - 1/2 log sigmoid(-r+) - 1/2 log sigmoid(-r-)"),
    "apo-zero": Method(_linked("apo-zero"), "2408.06266", "1 - sigmoid(r+) + sigmoid(r-)"),
    "apo-down": Method(_linked("apo-down"), "2408.06266", "sigmoid(r+) + 1 - sigmoid(r+ - r-)"),
    "sppo": Method(_linked("sppo"), "2405.00675, hard labels", "(s(y+) - 1/(2 beta))^2 + (s(y-) + 1/(2 beta))^2"),
    "simpo": Method(
        _linked("sigmoid", norm="mean", reference=False, beta=2.0, margin=1.0),
        "2405.14734",
        "-log sigmoid(beta [mean log pi(y+) - mean log pi(y-)] - margin)",
        "beta 2, margin 1 (the paper's range); TRL defaults to .1 and .5.",
    ),
    "orpo": Method(
        (NLL(), Odds(weight=0.1)),
        "2403.07691",
        "nll - .1 log sigmoid(log odds(y+) - log odds(y-)), odds of mean-token likelihoods",
    ),
    "kto": Method(
        (KTO(),),
        "2402.01306",
        "mean of 1 - sigmoid(beta (s(y+) - z)) and 1 - sigmoid(beta (z - s(y-))), "
        "z = max(0, batch mean of s(x_i, y_j))",
        "z takes for every record the answers of the next record of the input, and the mean over the whole batch of "
        "all processes. `ext.align.only` makes a pair an unpaired answer.",
    ),
    "rpo": Method(
        (Rank(name="rank", beta=0.5), NLL(weight=0.2)),
        "2405.16436, averaged form",
        "rank over the answer + .2 nll",
        "The form its authors call generally better.",
    ),
    "rpo-sum": Method(
        (Rank(name="rank", beta=0.01), NLL(weight=0.005 * 0.01, norm="sum")),
        "2405.16436, cumulative form",
        "rank over the answer - eta beta sum_t log pi(y+_t), eta .005",
        "The weight of nll is eta beta: set --nll with --beta.",
    ),
    "mask-dpo": Method(
        (_SPAN,),
        "2606.12590, its baseline MASK-DPO",
        "rank",
        "DPO on the edited tokens. The original method masks sentences: mask-dpo-sentence.",
    ),
    "mask-dpo-sentence": Method(
        (Rank(name="rank", scope="sentence"),),
        "2503.02846 (Mask-DPO)",
        "rank over the factual sentences of y+ and the hallucinated sentences of y-",
        "Sentences from `ext.align.keep`; else all of y+, and the sentences of y- that a span touches.",
    ),
    "rrpo": Method(
        (_SPAN, KL(weight=0.01, scope="response", forward=1.0)),
        "2504.12083",
        "rank + alpha sum over all tokens of y+ of KL(pi_ref || pi)",
        "The KL covers the whole answer (released code).",
    ),
    "mdpo": Method(
        (_ALL, Rank(name="visual", better="+", worse="'+"), Anchor()),
        "2406.11839",
        "rank + [-log sigmoid(beta (s(v, y+) - s(v', y+)))] + [-log sigmoid(beta s(v, y+))]",
        "v' is the record's corrupted image, made once; the release draws another crop for policy and reference.",
    ),
    "perpo": Method(
        (PairList(),),
        "2502.04371",
        "sum_{i<j} |r_i - r_j|^gamma (-log sigmoid(beta (s_i - s_j))) / sum_{i<j} |r_i - r_j|^gamma",
        "Each record has its own rewards (the release uses those of one record for all). All rewards equal: loss 0.",
    ),
    "s-dpo": Method((TopOne(),), "2406.09215", "-log softmax over the list of beta s, at the best answer"),
    "lpoi": Method(
        (_ALL, PlackettLuce(name="list"), Anchor()),
        "2505.21061",
        "rank + Plackett-Luce over the ladder of images with y+ + [-log sigmoid(beta s(v, y+))]",
        "The ladder comes ready with the record.",
    ),
    "tis-dpo": Method(
        (Rank(name="rank", weigh="record"),),
        "2410.04350",
        "-log sigmoid(beta [sum w_t s_t(y+) - sum w_t s_t(y-)])",
        "Weights come with the record; the end token weighs 0.",
    ),
    "tis-dpo-kl": Method(
        (Rank(name="rank", weigh="record", kl=-0.5, kl_forward=False),),
        "2410.04350, option token_level",
        "the gap less .5 [sum w_t KL(pi || pi_ref)(y+) - sum w_t KL(pi || pi_ref)(y-)]",
    ),
    "tdpo1": Method(
        (Rank(name="rank", kl=1.0),),
        "2404.11999",
        "-log sigmoid(beta [s(y+) - s(y-) - (K(y-) - K(y+))]), K = sum_t KL(pi_ref || pi)",
    ),
    "tdpo2": Method(
        (Rank(name="rank", kl=0.5, kl_detach=True),),
        "2404.11999",
        "-log sigmoid(beta [s(y+) - s(y-) - .5 (K(y-) - K(y+))]), no gradient through K(y+)",
    ),
    "ddpo": Method(
        (Rank(name="rank", weigh="span", span_weight=1.1),),
        "2312.00849 (RLHF-V)",
        "-log sigmoid(beta [sum w_t s_t(y+) - sum w_t s_t(y-)]), w = 1.1 on edited tokens, else 1",
        "Weights of the released run; the paper's 5, averaged, beta .5 (not verified) is a composed term. Edited "
        "tokens are those of the record's spans, not a diff of token ids.",
    ),
    "mmedpo": Method(
        (Rank(name="rank", need_weight=True), Rank(name="visual", better="+", worse="'+", optional=True)),
        "2412.06141",
        "w (-log sigmoid(beta [s(v, y+) - s(v, y-)]) - log sigmoid(beta [s(v, y+) - s(v', y+)]))",
        "w is `weights.example`. Both pairs of one record count together; the release has a record for each.",
    ),
    "rosepo": Method(
        (Rank(name="rank", flip=True),),
        "2410.12519",
        "-(1 - e) log sigmoid z - e log sigmoid(-z), z = beta [s(y+) - s(y-)]",
        "e is `weights.flip`. The equation could not be checked against the paper's text.",
    ),
    "sympo": Method(
        (
            _ALL,
            Rank(name="twin", worse="2", weight=0.5),
            Rank(name="twin-reversed", better="2:2", worse="2:+", weight=0.5),
            Anchor(),
            Anchor(name="twin-anchor", sequence="2:2"),
            MarginSquare(name="margin", weight=1e-4),
        ),
        "2506.11712 (SymMPO)",
        "rank + 1/2 {(m1: y+ over y2) + (m2: y2 over y+)} + anchors of y+ under m1, y2 under m2 + 1e-4 (gap1 - gap2)^2",
        "The squared margin is not scaled by beta (released code). m2 and y2 are `ext.align.twin`.",
    ),
    "mrpo": Method(
        (Rank(name="rank", references=2),),
        "2405.16388",
        "DPO against log r~ = log r1 + log r2 - log(a r1 + (1 - a) r2), r1 clipped to the base's neighbourhood",
        "Weights as in the released code (the paper's text puts a on r1); per record, not per batch. The second "
        "reference is --reference-adapter.",
    ),
    "opa-dpo": Method(
        (
            _ALL,
            Rank(name="reference", better="r"),
            Rank(name="visual", better="+", worse="'+", weight=0.2),
            Rank(name="visual-reference", better="r", worse="'r", weight=0.2),
            Anchor(),
            Anchor(name="reference-anchor", sequence="r"),
        ),
        "2501.09695",
        "(y+ over y-) + (reference over y-) + .2 {(v over v') with y+, with the reference} + anchors of both",
        "Sequence sums, and the anchor pulls up: the release works per token position and pushes the revised answer "
        "down. Its first stage is supervised training on both: recipes/opa-sft.toml.",
    ),
    "sft": Method((NLL(),), "supervised control", "nll"),
    "spo": Method(
        (_ALL, Degree(weight=0.1)),
        "2409.17791",
        "rank over the answer + .1 (cross-entropy of the degree of y+ + that of y-)",
        "The equation could not be checked against the paper. The head is linear on the last hidden state, starts at "
        "0, is trained beside the adapter and not kept.",
    ),
    "p3o": Method(
        (PolicyGradient(name="rank"),),
        "2310.00212, from its theorem",
        "-1/2 w (r1 - r2) (log pi(y1) - log pi(y2)), r less beta log(pi/pi_ref), w = min(10, pi/pi_old of both)",
        "Pairwise policy gradient, from the theorem: the paper's clipped forms could not be verified. Samples of an "
        "old policy are weighted, at most tenfold.",
    ),
}
