"""Whether a text is in the language that the lexicon covers: English, by its small words.

A profile of function words, not a model: foreign ones count one, those that no English report holds
count two (``kein``, ``gauche``, ``derrame``), English ones speak against. Judged sentence by sentence and over
the whole, because an edit in the English half of a mixed text would still be an edit of a text that is read
only in part. Telegraphic English ("Lungs clear.") has no small words and is never refused for that.
"""

import re
import unicodedata
from functools import lru_cache

from medpo_cli.text.words import sentences

LATIN_SHARE = 0.7
"""Least share of the letters that are Latin."""
MARKED_SHARE = 0.25
"""Largest share of the words with letters beyond a to z: of any language that the lists lack."""
SENTENCE_SCORE, TEXT_SCORE = 2, 3
_GREEK = "µμαβγ"
_WORD = re.compile(r"[^\W\d_]+")
_SHORT = 3

_ENGLISH = frozenset(
    "a an the this that these there here it its is are was were be been has have had which who what when where "
    "and or but not nor than then with without within of off for from into to at by in on as if so no none any "
    "some other both each all may can could should would seen noted shown you i we they he she his her yes".split()
)
_FOREIGN = frozenset(
    # German, Dutch
    "der das den dem ein eine einen einem einer ist sind im und oder mit bei von zum zur nach aus vom wird wurde auch "
    "sich auf für het een zijn van voor niet met er naar bij "
    # French
    "le la les des du un une est sont et ou avec dans sur sans pas aux cette ces par pour il elle ne qui que "
    # Spanish, Portuguese, Italian, Romanian
    "el los las del una en con se es por sin hay al lo os um uma com da dos das nos gli della dei di nel nella è à é "
    "ed si che cu nu și si în este sunt "
    # Swedish, Danish, Norwegian, Polish, Czech, Turkish, Finnish, Indonesian
    "och av på som det og til ikke med nie się oraz jest są ve bir ile ja ei dan yang ada je".split()
)
_TELLING = frozenset(
    "kein keine keinen keiner nicht ohne herz lunge lungen pleuraerguss pleuraergüsse erguss vergrößert rechts links "
    "rechter linker rechten linken beidseits befund unauffällig verschattung geen zonder longen "
    "coeur cœur poumon poumons gauche droite épanchement aucun aucune "
    "derrame pulmón pulmones corazón izquierdo izquierda derecho derecha cardíaco cardíaca ningún ninguna "
    "pulmão pulmões coração esquerdo esquerda direito direita não nenhum normais cuore polmone polmoni versamento "
    "senza nessun nessuna sinistro sinistra inima plămân fără dreapta stânga hjärta lungor höger vänster ingen inte "
    "utan hjerte lunger højre høyre venstre uden uten serce płuca płuco brak bez srdce plíce není vpravo vlevo kalp "
    "akciğer sağ yok sydän keuhkot jantung paru tidak không phổi".split()
)
_BORROWED = re.compile(
    r"\b(?:de novo|en bloc|en face|en plaque|en passant|et al|in situ|per os|vis[- ]a[- ]vis|cul[- ]de[- ]sac|"
    r"caf[eé][- ]au[- ]lait|tour de force|sine qua non)\b|\b(?:Drs?|Prof)\b\.?(?:\s+[a-z]{2,3}\b){1,2}",
    re.IGNORECASE,
)


@lru_cache(maxsize=2048)
def is_covered(text: str) -> bool:
    """False if ``text``, or a sentence of it, is in another language or script than English."""
    letters = [] if text.isascii() else [mark for mark in text if mark.isalpha()]
    latin = sum("LATIN" in unicodedata.name(mark, "") or mark in _GREEK for mark in letters)
    return latin >= LATIN_SHARE * len(letters) and not _is_foreign(text)


def _is_foreign(text: str) -> bool:
    """By small words and by marked letters."""
    shouted = text.isupper()
    text = _BORROWED.sub(" ", text)
    found = [_score(_words(text[start:end], shouted)) for start, end in sentences(text)]
    if any(foreign >= SENTENCE_SCORE and foreign > english for foreign, english, _, _ in found):
        return True
    foreign, english, marked, count = (sum(numbers) for numbers in zip(*found, strict=True)) if found else (0, 0, 0, 0)
    return (foreign >= TEXT_SCORE and foreign > english) or (count > _SHORT and marked > MARKED_SHARE * count)


def _words(text: str, shouted: bool) -> list[str]:
    """Words; capitals such as LA, DES or EL are abbreviations unless all of the text is in them."""
    return [word for word in _WORD.findall(text) if shouted or len(word) > _SHORT or not word.isupper()]


def _score(words: list[str]) -> tuple[int, int, int, int]:
    """What speaks for another language and what for English (each distinct word once); marked words; words.

    Words with a capital may be names (Sjögren, Ménière) and do not count as marked.
    """
    distinct = {word.lower() for word in words}
    foreign = len(distinct & _FOREIGN) + 2 * len(distinct & _TELLING)
    marked = sum(not word.isascii() and not word.istitle() and not set(word) <= set(_GREEK) for word in words)
    return foreign, len(distinct & _ENGLISH), marked, len(words)
