"""True reports made of statements whose facts are known, in words of their own; nothing of the lexicon is used.

A statement is a template with slots; the slot values are what an injector may get wrong. ``denied`` is
the sentence of the same finding when it is absent.
"""

import random
from dataclasses import dataclass, field, replace

SIDES = ("left", "right")


@dataclass(frozen=True)
class Statement:
    """One sentence of a report about one finding.

    Attributes:
        finding: a name within these tables.
        template: of the presence, with slots {a}, {side}, {place}, {grade}, {size}, {number}, {change}.
        denied: the sentence when it is absent; empty if reports just leave it out.
        slots: slot -> values it can have; the first slot's word may follow {a}.
        values: the values in this report; None: absent.
    """

    finding: str
    template: str
    denied: str
    slots: dict[str, tuple[str, ...]] = field(default_factory=dict)
    values: tuple[tuple[str, str], ...] | None = None

    @property
    def text(self) -> str:
        """The sentence; "a" or "an" by the letter that follows."""
        if self.values is None:
            return self.denied
        text = self.template
        for name, value in self.values:
            text = text.replace("{" + name + "}", value)
        if "{a}" in text or "{A}" in text:
            for mark, word in (("{a} ", "a"), ("{A} ", "A")):
                while mark in text:
                    at = text.index(mark) + len(mark)
                    article = word + ("n" if text[at] in "aeiou8" or text.startswith("11 ", at) else "")
                    text = text.replace(mark, article + " ", 1)
        return text[0].upper() + text[1:]

    def drawn(self, generator: random.Random) -> "Statement":
        """With values for every slot."""
        return replace(self, values=tuple((name, generator.choice(values)) for name, values in self.slots.items()))


LOBES = ("upper lobe", "lower lobe")
GRADES = ("mild", "moderate", "severe")
EXTENTS = ("small", "moderate", "large")

DOMAINS: dict[str, list[Statement]] = {
    "chest_xray": [
        Statement(
            "heart",
            "The heart is {grade} enlarged.",
            "Heart size is normal.",
            {"grade": ("mildly", "moderately", "severely")},
        ),
        Statement(
            "effusion",
            "There is {a} {grade} {side} pleural effusion.",
            "There is no pleural effusion.",
            {"grade": EXTENTS, "side": SIDES},
        ),
        Statement(
            "pneumothorax",
            "A {grade} {side} pneumothorax is seen.",
            "No pneumothorax is seen.",
            {"grade": EXTENTS, "side": SIDES},
        ),
        Statement(
            "nodule",
            "{A} {size} nodule projects over the {side} {place}.",
            "No pulmonary nodule is identified.",
            {"size": ("6 mm", "8 mm", "1.5 cm", "11 mm"), "side": SIDES, "place": ("upper lung", "lower lung")},
        ),
        Statement(
            "consolidation",
            "Consolidation is present in the {side} {place}.",
            "No focal consolidation is present.",
            {"side": SIDES, "place": LOBES},
        ),
        Statement("edema", "{grade} pulmonary edema is noted.", "No pulmonary edema.", {"grade": GRADES}),
        Statement("atelectasis", "{grade} atelectasis at the {side} base.", "", {"grade": GRADES, "side": SIDES}),
        Statement("pacemaker", "A {side} chest wall pacemaker is in place.", "", {"side": SIDES}),
        Statement("hernia", "{A} {grade} hiatal hernia is noted.", "", {"grade": EXTENTS}),
        Statement(
            "fracture",
            "There are {number} healed {side} rib fractures.",
            "No acute fracture.",
            {"number": ("two", "three", "multiple"), "side": SIDES},
        ),
        Statement("scoliosis", "There is {grade} scoliosis.", "", {"grade": GRADES}),
        Statement("granuloma", "A calcified granuloma in the {side} {place}.", "", {"side": SIDES, "place": LOBES}),
    ],
    "chest_ct": [
        Statement(
            "embolism",
            "There is pulmonary embolism on the {side}.",
            "No evidence of pulmonary embolism.",
            {"side": SIDES},
        ),
        Statement(
            "nodule",
            "There is {a} {size} solid nodule in the {side} {place}.",
            "No suspicious pulmonary nodule.",
            {"size": ("4 mm", "9 mm", "1.2 cm"), "side": SIDES, "place": LOBES},
        ),
        Statement("emphysema", "{grade} centrilobular emphysema.", "No emphysema.", {"grade": GRADES}),
        Statement(
            "bronchiectasis",
            "{grade} bronchiectasis in the {side} {place}.",
            "No bronchiectasis.",
            {"grade": GRADES, "side": SIDES, "place": LOBES},
        ),
        Statement(
            "nodes",
            "{number} enlarged mediastinal lymph nodes are seen.",
            "No mediastinal lymphadenopathy.",
            {"number": ("Two", "Three", "Multiple")},
        ),
        Statement(
            "pericardial", "There is {a} {grade} pericardial effusion.", "No pericardial effusion.", {"grade": EXTENTS}
        ),
        Statement(
            "effusion",
            "{A} {grade} {side} pleural effusion is {change}.",
            "No pleural effusion.",
            {"grade": EXTENTS, "side": SIDES, "change": ("unchanged", "increased", "decreased")},
        ),
        Statement("coronary", "{grade} coronary artery calcifications are noted.", "", {"grade": GRADES}),
        Statement(
            "opacity",
            "Ground-glass opacity in the {side} {place}.",
            "No ground-glass opacity.",
            {"side": SIDES, "place": LOBES},
        ),
        Statement(
            "thyroid",
            "{A} {size} thyroid nodule on the {side}.",
            "The thyroid gland is unremarkable.",
            {"size": ("7 mm", "1.4 cm"), "side": SIDES},
        ),
    ],
    "brain_mr": [
        Statement(
            "infarct",
            "There is an acute infarct in the {side} {place} lobe.",
            "No acute infarct.",
            {"side": SIDES, "place": ("frontal", "parietal", "occipital")},
        ),
        Statement(
            "hemorrhage",
            "A {size} hemorrhage is seen in the {side} {place} lobe.",
            "There is no intracranial hemorrhage.",
            {"size": ("12 mm", "2 cm"), "side": SIDES, "place": ("frontal", "temporal")},
        ),
        Statement(
            "subdural",
            "{A} {size} {side} subdural hematoma.",
            "No subdural hematoma.",
            {"size": ("5 mm", "9 mm"), "side": SIDES},
        ),
        Statement("shift", "There is {size} of midline shift.", "No midline shift.", {"size": ("3 mm", "6 mm")}),
        Statement("atrophy", "{grade} cerebral atrophy is present.", "", {"grade": GRADES}),
        Statement(
            "white matter",
            "There are {grade} white matter hyperintensities.",
            "No white matter lesions.",
            {"grade": ("mild", "moderate", "extensive")},
        ),
        Statement(
            "meningioma",
            "{A} {size} meningioma along the {side} {place} convexity.",
            "No meningioma.",
            {"size": ("11 mm", "2.4 cm"), "side": SIDES, "place": ("frontal", "parietal")},
        ),
        Statement("hydrocephalus", "There is {grade} hydrocephalus.", "No hydrocephalus.", {"grade": GRADES}),
        Statement(
            "sinus",
            "{grade} mucosal thickening of the {side} maxillary sinus.",
            "The paranasal sinuses are clear.",
            {"grade": GRADES, "side": SIDES},
        ),
        Statement(
            "ventricles",
            "The ventricles are {grade} enlarged.",
            "The ventricles are normal in size.",
            {"grade": ("mildly", "moderately")},
        ),
    ],
    "abdomen": [
        Statement("steatosis", "There is {grade} hepatic steatosis.", "No hepatic steatosis.", {"grade": GRADES}),
        Statement(
            "liver",
            "{A} {size} lesion is seen in segment {place} of the liver.",
            "No focal liver lesion.",
            {"size": ("9 mm", "1.8 cm"), "place": ("2", "4", "6", "7")},
        ),
        Statement(
            "stone",
            "There is {a} {size} stone in the {place} of the {side} kidney.",
            "No renal calculi.",
            {"size": ("3 mm", "5 mm", "1.1 cm"), "place": ("lower pole", "upper pole"), "side": SIDES},
        ),
        Statement(
            "hydronephrosis", "{grade} {side} hydronephrosis.", "No hydronephrosis.", {"grade": GRADES, "side": SIDES}
        ),
        Statement(
            "gallstones", "{number} gallstones are seen.", "No gallstones.", {"number": ("Two", "Three", "Multiple")}
        ),
        Statement(
            "spleen",
            "The spleen is {grade} enlarged.",
            "The spleen is normal in size.",
            {"grade": ("mildly", "markedly")},
        ),
        Statement("ascites", "There is {grade} ascites.", "No ascites.", {"grade": ("mild", "moderate", "large")}),
        Statement(
            "cyst",
            "{A} {size} cyst in the {side} kidney.",
            "No renal cyst.",
            {"size": ("1.3 cm", "2.2 cm"), "side": SIDES},
        ),
        Statement(
            "aneurysm",
            "{A} {size} infrarenal abdominal aortic aneurysm.",
            "The abdominal aorta is normal in caliber.",
            {"size": ("3.6 cm", "4.1 cm")},
        ),
        Statement(
            "adrenal",
            "{A} {size} {side} adrenal nodule.",
            "The adrenal glands are normal.",
            {"size": ("12 mm", "2 cm"), "side": SIDES},
        ),
        Statement("diverticulosis", "{grade} sigmoid diverticulosis.", "", {"grade": ("mild", "extensive")}),
        Statement("appendix", "Findings of acute appendicitis.", "The appendix is normal.", {}),
    ],
}


def true_report(domain: str, generator: random.Random) -> list[Statement]:
    """Three to eight statements in the domain's order, about half of them present."""
    pool = DOMAINS[domain]
    picked = sorted(generator.sample(range(len(pool)), generator.randint(3, 8)))
    made = []
    for place in picked:
        statement = pool[place]
        absent = bool(statement.denied) and generator.random() < 0.5
        made.append(statement if absent else statement.drawn(generator))
    return made


def as_text(statements: list[Statement]) -> str:
    """The report in one paragraph."""
    return " ".join(statement.text for statement in statements)
