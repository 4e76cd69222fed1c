"""The phantom world's language: attributes to reports, label-file reports, questions and answers.

A closed language on purpose: every sentence says one finding, so that truth, edits and scores are
exact. A report has five sentences, always in the order of ``FINDINGS``.
"""

from itertools import product

from medpo_cli.demo.findings import FINDINGS, SIDES, SIZES, WITH_SIDE, ZONES, Lesion, Lesions

REPORT_PROMPT = "Describe the findings on this chest image."

NOUNS = {
    "nodule": "nodule",
    "opacity": "opacity",
    "pleural_effusion": "pleural effusion",
    "pneumothorax": "pneumothorax",
}
ABSENT = {
    "cardiomegaly": "The heart is normal in size.",
    "nodule": "No nodule is seen.",
    "opacity": "No focal opacity is seen.",
    "pleural_effusion": "No pleural effusion.",
    "pneumothorax": "No pneumothorax.",
}
CLOSED = {
    "cardiomegaly": "Is the heart enlarged?",
    "nodule": "Is there a nodule?",
    "opacity": "Is there a focal opacity?",
    "pleural_effusion": "Is there a pleural effusion?",
    "pneumothorax": "Is there a pneumothorax?",
}
DENIED = {
    "cardiomegaly": "No, the heart is normal in size.",
    "nodule": "No, there is no nodule.",
    "opacity": "No, there is no focal opacity.",
    "pleural_effusion": "No, there is no pleural effusion.",
    "pneumothorax": "No, there is no pneumothorax.",
}


def noun_phrase(lesion: Lesion) -> str:
    """The lesion in words, for example ``small nodule in the left upper zone``."""
    side, zone, size = lesion.side, lesion.zone, lesion.size
    match lesion.finding:
        case "nodule":
            return f"{size} nodule in the {side} {zone} zone"
        case "opacity":
            return f"patchy opacity in the {side} {zone} zone"
        case _:
            return f"{size} {side} {NOUNS[lesion.finding]}"


def sentence(finding: str, lesion: Lesion | None) -> str:
    """The report's sentence about ``finding``: what is seen, or that nothing is."""
    if lesion is None:
        return ABSENT[finding]
    if finding == "cardiomegaly":
        return "The heart is enlarged."
    return f"There is a {noun_phrase(lesion)}."


def report(lesions: Lesions) -> str:
    """Five sentences, one a finding."""
    return " ".join(sentence(finding, lesions.get(finding)) for finding in FINDINGS)


def terse_phrase(lesion: Lesion) -> str:
    """One entry of a label file, for example ``Small left upper nodule.``."""
    side, zone = lesion.side, lesion.zone
    match lesion.finding:
        case "cardiomegaly":
            words = "cardiomegaly"
        case "nodule":
            words = f"{lesion.size} {side} {zone} nodule"
        case "opacity":
            words = f"{side} {zone} opacity"
        case _:
            words = f"{side} {NOUNS[lesion.finding]}"
    return words.capitalize() + "."


def terse_report(lesions: Lesions) -> str:
    """The report as a label file writes it: positives only, no sentences."""
    phrases = [terse_phrase(lesions[finding]) for finding in FINDINGS if finding in lesions]
    return " ".join(phrases) if phrases else "No findings."


def closed_answer(finding: str, lesion: Lesion | None) -> str:
    """The answer to ``CLOSED[finding]``; its first word is Yes or No."""
    if lesion is None:
        return DENIED[finding]
    stated = sentence(finding, lesion)
    return f"Yes, {stated[0].lower()}{stated[1:]}"


def open_question(finding: str) -> str:
    """The open question about a finding: its side, or the size of the heart."""
    return f"Which side is the {NOUNS[finding]} on?" if finding in WITH_SIDE else "How large is the heart?"


def open_answer(finding: str, lesion: Lesion | None) -> str:
    """The answer to ``open_question(finding)``.

    Raises:
        ValueError: a finding that is absent has no side (the heart may always be asked about).
    """
    if finding not in WITH_SIDE:
        return sentence(finding, lesion)
    if lesion is None:
        raise ValueError(f"no {finding} to ask about")
    return f"The {NOUNS[finding]} is on the {lesion.side}."


def every_text() -> list[str]:
    """All sentences of the language: what the tokenizer is trained on so that words are whole tokens."""
    texts = [REPORT_PROMPT, "No findings.", *CLOSED.values(), *DENIED.values(), *ABSENT.values()]
    texts += [open_question(finding) for finding in FINDINGS]
    for finding, side, zone, size in product(FINDINGS, SIDES, ZONES, SIZES):
        lesion = Lesion(finding, side, zone, size)
        texts += [sentence(finding, lesion), terse_phrase(lesion), closed_answer(finding, lesion)]
        texts.append(open_answer(finding, lesion))
        texts.append(report({finding: lesion}))
    return texts
