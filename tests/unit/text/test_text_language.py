"""Texts that the English lexicon can read, and those that it cannot."""

import pytest

from medpo_cli.text.language import is_covered

FOREIGN = {
    "German": [
        "Das Herz ist vergrößert.",
        "Kein Pneumothorax.",
        "Pneumothorax links.",
        "Lungen frei.",
        "Kleiner Pleuraerguss rechts, keine Infiltrate.",
    ],
    "French": [
        "Pas de pneumothorax ni d'épanchement pleural.",
        "Le coeur est de taille normale.",
        "Opacité du lobe inférieur gauche.",
        "Absence de nodule dans les poumons.",
    ],
    "Spanish": ["No hay derrame pleural.", "Corazón de tamaño normal.", "Sin neumotórax. Silueta cardíaca normal."],
    "Portuguese": ["Não há derrame pleural.", "Pulmões sem alterações.", "Coração de dimensões normais."],
    "Italian": ["Non versamento pleurico.", "Cuore nei limiti della norma.", "Nodulo del polmone sinistro."],
    "Dutch": ["Geen pneumothorax.", "Er is een vergroot hart met stuwing van de longen."],
    "Nordic": [
        "Ingen pneumothorax.",
        "Hjertet er forstørret, ikke pleuravæske på venstre side.",
        "Inga fynd i lungor.",
    ],
    "Polish": ["Nie stwierdza się odmy.", "Serce powiększone. Płuca bez zmian."],
    "Turkish": ["Pnömotoraks yok.", "Kalp büyük ve sağ akciğer normal."],
    "Vietnamese": ["Không có tràn khí màng phổi."],
    "shouted": ["LE COEUR EST NORMAL.", "KEIN PNEUMOTHORAX."],
    "half English": ["The heart is enlarged. Kein Pleuraerguss rechts.", "No nodule is seen. Le coeur est normal."],
    "other scripts": ["القلب متضخم.", "Сердце увеличено.", "心脏增大。", "לב מוגדל", "心臓は大きい。"],
}
ENGLISH = [
    "Yes.", "No", "left", "Right.", "CT", "MRI", "Axial", "2", "1.5 cm", "Pneumonia", "cardiomegaly", "T2", "",
    "Lungs clear. No effusion.", "No acute disease.", "Heart size normal; lungs clear; no PTX.", "Normal chest",
    "LA dilated. DES in LAD. EL normal.", "LUNGS CLEAR. NO PNEUMOTHORAX. LA ENLARGED.", "s/p CABG, post op w effusion",
    "De novo nodule. En bloc resection.", "Kerley B lines, Sjögren syndrome, Ménière disease, café-au-lait spots.",
    "Amiodarone toxicity", "Vancomycin", "Bevacizumab and Paclitaxel given.", "Lewy body dementia", "sans contrast",
    "PE in the right main pulmonary artery.", "Seen in the ER on das 3.", "Fleischner: no follow-up.", "α-fetoprotein",
    "Dr. van der Berg and Dr. de la Cruz reviewed this.", "Hounsfield units -10, Na 140, pH 7.4, SpO2 92 %",
    "5 µm calcification", "…", "?", "\U0001fac1", "12345",
]  # fmt: skip


@pytest.mark.parametrize("text", [text for texts in FOREIGN.values() for text in texts])
def test_other_languages_are_not_covered(text: str) -> None:
    assert not is_covered(text)


@pytest.mark.parametrize("text", ENGLISH)
def test_english_is_covered_however_short(text: str) -> None:
    assert is_covered(text)


def test_a_foreign_name_in_an_english_report_does_no_harm() -> None:
    report = "The heart is normal in size. There is no pneumothorax or effusion. Seen by Dr. von der Heide."
    assert is_covered(report)


def test_an_arabic_word_in_an_english_report_does_no_harm() -> None:
    assert is_covered("The heart (القلب) is enlarged and there is no pleural effusion on either side.")
