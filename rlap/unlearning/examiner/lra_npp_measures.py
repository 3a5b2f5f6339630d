"""The two attacks that LRA-NPP's authors measure forgetting by, on the class alone.

Beside those of ``rlap.unlearning.examiner.attacks``, which calibrate on other samples
than they are asked about: neither of these does.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn

from rlap.unlearning.common.splits import ForgettingData
from rlap.unlearning.examiner.attacks import MEMBER, NON_MEMBER, Answers

FEWEST = 6  # samples of each kind: a tenth of both together judges, one of each kind


def forgetting_rate_svc_original(
    model: nn.Module,
    original: nn.Module,
    data: ForgettingData | Answers,
) -> float:
    """Share of the forget set called NON-member by an attack on the *original*: what
    LRA-NPP's authors call Fr, in [0, 1].

    A linear SVC on the standardised probabilities of the original, members: at most
    1,500 of ``data.forget``, non-members: two thirds as many of ``data.forget_test``,
    as theirs are (which decides where the two look alike). It is applied to what
    ``model`` answers on the training samples that it was fitted to, so whatever answers
    otherwise than the original comes near 1. Source: Chang et al., released code.
    """
    answers = Answers.on(data)

    def fit() -> Any:
        from sklearn.pipeline import make_pipeline  # here: it takes long to import
        from sklearn.preprocessing import StandardScaler
        from sklearn.svm import SVC

        members, others = (
            answers.log_probabilities(original, part).exp()
            for part in ("forget", "forget_test")
        )
        members = members[:1500]
        others = others[: max(1, 2 * len(members) // 3)]
        attacker = make_pipeline(StandardScaler(), SVC(kernel="linear", random_state=0))
        member = np.repeat([MEMBER, NON_MEMBER], [len(members), len(others)])
        return attacker.fit(torch.cat([members, others]).numpy(), member)

    attacker = answers.once(("Fr", id(original)), fit)
    asked = answers.log_probabilities(model, "forget").exp().numpy()
    return float((attacker.predict(asked) == NON_MEMBER).mean())


def forgetting_score_loss(model: nn.Module, data: ForgettingData | Answers) -> float:
    """How far an attack on the loss is from guessing: what LRA-NPP's authors call Fs,
    from 0 (best) to 0.5.

    |accuracy - 0.5| of a logistic regression on the CE of the class's training samples
    against its test samples, as many of each, over ten stratified splits of nine parts
    to fit and one to judge. Raises ``ValueError`` for fewer than ``FEWEST`` of either.
    Source: Chang et al., released code; as many of each is ours.
    """
    from sklearn.linear_model import LogisticRegression  # here: it takes long to import
    from sklearn.model_selection import StratifiedShuffleSplit, cross_val_score

    answers = Answers.on(data)
    losses = [-answers.of_label(model, part) for part in ("forget", "forget_test")]
    if (n := min(map(len, losses))) < FEWEST:
        raise ValueError(
            f"{n} samples to forget, or of the class to test with, are too few to tell "
            f"anything by their loss: {FEWEST} of each are needed"
        )
    x = torch.cat([found[:n] for found in losses])[:, None].numpy()
    splits = StratifiedShuffleSplit(10, random_state=0)
    member = np.repeat([MEMBER, NON_MEMBER], n)
    found = cross_val_score(LogisticRegression(), x, member, cv=splits)
    return abs(float(found.mean()) - 0.5)
