"""Membership attacks on the forgotten class; every name says which way it counts.

Attacks are calibrated on retained data, of which the members were trained on and the
non-members not, and on nothing that they are then applied to. A value means little by
itself: compare it with that of a retrained model.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from rlap.checks import (
    check_count,
    check_finite,
    check_rate,
    check_seed,
)
from rlap.metrics import Estimate, auroc
from rlap.training.inference import predict
from rlap.unlearning.common.splits import ForgettingData, is_one_of

if TYPE_CHECKING:
    from sklearn.pipeline import Pipeline

MEMBER, NON_MEMBER = 1, 0
FLOOR = -50.0  # of log-probabilities: below, a mask's -1e9 plus noise would be read
FALSE_ALARMS = 0.01


@dataclass
class Answers:
    """What models answer on the four sets of ``data``, each computed once.

    An examiner that asks many things of a few models shares one of these among its
    questions, in the place of the data; the models must not change meanwhile.

    >>> from rlap import Split
    >>> split = Split(torch.rand(9, 2), torch.arange(9) % 3)
    >>> answers = Answers(ForgettingData.of(split, split, 2))
    >>> answers.of(nn.Linear(2, 3), "forget_test").shape
    torch.Size([3, 3])
    """

    data: ForgettingData
    known: dict[tuple[int, str], tuple[nn.Module, Tensor]] = field(default_factory=dict)
    results: dict[tuple, Any] = field(default_factory=dict)

    @classmethod
    def on(cls, data: ForgettingData | Answers) -> Answers:
        """``data`` themselves where they are answers already."""
        if isinstance(data, cls):
            return data
        if not isinstance(data, ForgettingData):
            raise TypeError(
                f"data must be ForgettingData, not {type(data).__name__}: "
                "ForgettingData.of(train, test, label) makes them"
            )
        return cls(data)

    def once(self, key: tuple, make: Callable[[], Any]) -> Any:
        """What ``make`` returned the first time for this ``key``."""
        if key not in self.results:
            self.results[key] = make()
        return self.results[key]

    def of(self, model: nn.Module, part: str) -> Tensor:
        """Logits (N, C) on the CPU for ``part``: "forget", "retain_test", ..."""
        key = id(model), part  # the model is kept, so its id cannot be another's
        if key not in self.known:
            found = predict(model, getattr(self.data, part).inputs)
            self.known[key] = model, check_finite(found, "the logits").cpu()
        return self.known[key][1]

    def has(self, model: nn.Module, part: str) -> bool:
        """Whether ``of`` knows the answers already."""
        return (id(model), part) in self.known

    def log_probabilities(self, model: nn.Module, part: str) -> Tensor:
        """(N, C) in float64."""
        return self.of(model, part).double().log_softmax(1)

    def labels(self, part: str) -> Tensor:
        """(N,) on the CPU."""
        return getattr(self.data, part).labels.cpu()

    def of_label(self, model: nn.Module, part: str) -> Tensor:
        """Log-probability of each sample's own label, (N,), at least ``FLOOR``."""
        found = self.log_probabilities(model, part)
        own = found.gather(1, self.labels(part)[:, None])[:, 0]
        return own.clamp(min=FLOOR)

    def accuracy(self, model: nn.Module, part: str) -> float:
        """Share of ``part`` that the model classifies as labelled."""
        right = self.of(model, part).argmax(1) == self.labels(part)
        return right.double().mean().item()


@dataclass(frozen=True)
class Attack:
    """An attack's verdict on the forget set.

    ``value``: see the attack; ``held_out``: its accuracy on retained members and
    non-members that it was not calibrated on (0.5: it does not work at all);
    ``calibrated_on``: how many samples of each kind.
    """

    value: float
    held_out: float
    calibrated_on: int


def mia_efficacy_svc_confidence(
    model: nn.Module,
    data: ForgettingData | Answers,
    *,
    samples: int = 1000,
    seed: int = 0,
) -> Attack:
    """Share of the forget set called NON-member; higher is read as better forgetting.

    An SVC (RBF, C = 3) on the probability of the true class, members: ``data.retain``,
    non-members: ``data.retain_test``, at most ``samples`` of each, half for
    calibration. Source: "MIA-efficacy" of Jia et al. (2023) and Fan et al. (2024).
    """
    from sklearn.svm import SVC  # here: it takes long to import

    attacker = SVC(C=3, gamma="auto", kernel="rbf", random_state=0)
    return _attack(model, data, attacker, true_confidence, NON_MEMBER, samples, seed)


def mia_logreg_entropy_member_rate(
    model: nn.Module,
    data: ForgettingData | Answers,
    *,
    samples: int = 1000,
    seed: int = 0,
) -> Attack:
    """Share of the forget set called MEMBER; lower is read as better forgetting.

    A balanced logistic regression on the entropy of the probabilities; sets as in
    ``mia_efficacy_svc_confidence``. Source: Chundawat et al. (2023), Foster et al.
    (2024).
    """
    attacker = logistic_regression(class_weight="balanced")
    return _attack(model, data, attacker, entropy, MEMBER, samples, seed)


def logistic_regression(**options: object) -> Pipeline:
    """scikit-learn's, on standardised features."""
    from sklearn.linear_model import LogisticRegression  # here: it takes long to import
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(
        StandardScaler(), LogisticRegression(random_state=0, **options)
    )


def _attack(
    model: nn.Module,
    data: ForgettingData | Answers,
    attacker: Any,
    score: Callable[[Tensor, Tensor], Tensor],
    counted: int,
    samples: int,
    seed: int,
) -> Attack:
    """Share of the forget set that ``attacker`` calls ``counted`` by its ``score``."""
    check_count(samples, "samples", minimum=4)
    answers = Answers.on(data)
    data = answers.data
    generator = torch.Generator().manual_seed(check_seed(seed))
    n = min(samples, len(data.retain), len(data.retain_test)) // 2 * 2
    if n < 4:
        raise ValueError("an attack needs at least 4 retained samples of both kinds")

    def scored(part: str) -> Tensor:
        return score(answers.log_probabilities(model, part), answers.labels(part))

    sides = [
        scored(part)[torch.randperm(len(split), generator=generator, device="cpu")[:n]]
        for part, split in (("retain", data.retain), ("retain_test", data.retain_test))
    ]
    x = torch.cat([sides[0][: n // 2], sides[1][: n // 2]])[:, None].numpy()
    held = torch.cat([sides[0][n // 2 :], sides[1][n // 2 :]])[:, None].numpy()
    member = np.repeat([MEMBER, NON_MEMBER], n // 2)
    attacker.fit(x, member)
    called = attacker.predict(scored("forget")[:, None].numpy())
    right = (attacker.predict(held) == member).mean()
    return Attack(float((called == counted).mean()), float(right), n // 2)


def true_confidence(log_p: Tensor, labels: Tensor) -> Tensor:
    """Probability of each sample's label, (N,)."""
    return log_p.gather(1, labels[:, None])[:, 0].exp()


def entropy(log_p: Tensor, labels: Tensor | None = None) -> Tensor:
    """Entropy of the probabilities in nats, (N,)."""
    return torch.special.entr(log_p.exp()).sum(1)


@dataclass(frozen=True)
class LossAttack:
    """A threshold on the loss: are trained samples of the class told from fresh ones?

    ``auc`` with its 95 % interval and ``tpr_at_1_fpr``: 0.5 and 0.01 are chance.
    ``false_alarms`` is how many fresh samples that rate lets pass: where they are few,
    it rests on as few. The ``masked`` ones look at the other classes' renormalised
    probabilities alone (their negative entropy), for whoever lowers one logit hides
    nothing there; ``masked_auc_either_way`` is that or one minus it, whichever is
    larger: after forgetting, trained samples may be the *less* sure ones.
    """

    auc: float
    auc_low: float
    auc_high: float
    tpr_at_1_fpr: float
    false_alarms: int
    masked_auc: float
    masked_auc_either_way: float
    masked_tpr_at_1_fpr: float


def loss_attack(model: nn.Module, data: ForgettingData | Answers) -> LossAttack:
    """Members: ``data.forget``, non-members: ``data.forget_test``; nothing is fitted.

    Source: Yeom et al. (2018); the rate at few false alarms: Carlini et al. (2022).
    """
    answers, parts = Answers.on(data), ("forget", "forget_test")
    plain = [answers.of_label(model, part) for part in parts]
    members, others = (answers.log_probabilities(model, part) for part in parts)
    labels = answers.data.labels
    masked = [-entropy(without(found, labels)) for found in (members, others)]
    area, hidden = separation(*plain), separation(*masked)
    return LossAttack(
        area.value,
        area.low,
        area.high,
        tpr_at(*plain, FALSE_ALARMS),
        int(FALSE_ALARMS * len(others)),
        hidden.value,
        max(hidden.value, 1 - hidden.value),
        tpr_at(*masked, FALSE_ALARMS),
    )


def without(log_p: Tensor, labels: Sequence[int]) -> Tensor:
    """Log-probabilities (N, C - k) of the other classes than ``labels``,
    renormalised."""
    others = ~is_one_of(torch.arange(log_p.shape[1], device="cpu"), labels)
    return log_p[:, others].log_softmax(1)


def separation(members: Tensor, others: Tensor) -> Estimate:
    """AUC, with its interval, of a score that should be larger for ``members``."""
    truth = torch.arange(len(members) + len(others), device="cpu") < len(members)
    return auroc(torch.cat([members, others]), truth)


def tpr_at(members: Tensor, others: Tensor, rate: float) -> float:
    """Share of ``members`` above a threshold that at most ``rate`` of others pass."""
    check_rate(rate)
    allowed = int(rate * len(others))
    if allowed == len(others):
        return 1.0  # all may pass, so no threshold is needed
    threshold = others.sort(descending=True).values[allowed]
    return (members > threshold).double().mean().item()


def told_from_retrain_auc(
    model: nn.Module,
    retrained: nn.Module,
    data: ForgettingData | Answers,
    *,
    seed: int = 0,
) -> float:
    """AUC of telling the two models' answers on the forget set apart; 0.5 is best.

    A logistic regression on the other classes' renormalised log-probabilities, fitted
    on one half of the samples and measured on the other; with two retrained models it
    gives what chance differences amount to. Source: our reading of the attack in arXiv
    2506.20893.
    """
    generator = torch.Generator().manual_seed(check_seed(seed))
    answers = Answers.on(data)
    n, labels = len(answers.data.forget), answers.data.labels
    if n < 4:
        raise ValueError("telling two models apart needs at least 4 samples to forget")
    order = torch.randperm(n, generator=generator, device="cpu")
    found = [answers.log_probabilities(net, "forget") for net in (model, retrained)]
    rows = [without(log_p, labels).clamp(min=FLOOR)[order] for log_p in found]
    attacker = logistic_regression(max_iter=1000)
    half = n // 2
    x = torch.cat([side[:half] for side in rows]).numpy()
    attacker.fit(x, np.repeat([1, 0], half))
    scores = [torch.from_numpy(attacker.decision_function(s[half:])) for s in rows]
    return separation(*scores).value
