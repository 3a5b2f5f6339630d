"""How the book says what records and cells call otherwise: one word for one thing."""

from __future__ import annotations

import re

MINUS = "\u2212"
# what the records call an arm -> what a reader is told (see the glossary)
ARMS = {
    "initial": "initial network",
    "retrain": "retraining",
    "continue": "continued training",
    "going on with everything": "continued training",
    "repair, one training": "repair in one training",
}
AGAINST = re.compile(r"\b(against|minus) (initial(?! network)|retrain|continue)\b")
AREA = re.compile(r"\b(area under the (ROC )?curve|area(?= [\d−]| of \d))")


def said(arm: str) -> str:
    """An arm's name.

    >>> said("continue"), said("F-FT")
    ('continued training', 'F-FT')
    """
    return ARMS.get(arm, arm)


def true_minus(text: str) -> str:
    """A text whose hyphens before numbers are minus signs.

    >>> true_minus("-1.5 [-2, 0] points, a-b, 3-4")
    '−1.5 [−2, 0] points, a-b, 3-4'
    """
    return re.sub(r"(?<![\w.,])-(?=\d|\.\d)", MINUS, text)


def in_words(text: str) -> str:
    """A sentence of a record or of a cell in the book's words.

    >>> in_words("area 0.9, -1.0 points against continue")
    'AUROC 0.9, −1.0 points against continued training'
    """
    text = AREA.sub("AUROC", true_minus(text))
    return AGAINST.sub(lambda m: f"{m[1]} {said(m[2])}", text)
