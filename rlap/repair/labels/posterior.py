"""Which label is wrong: the class that a sample more likely belongs to.

Labels are taken to be drawn from the true class by a matrix T, T[c, j] = P(given j |
true c). Two estimates make it: anchors say whether a class is mislabelled at all and as
what, they and the confident joint by how much. Then the mixing of classes by T is
undone in what a network predicts, and Bayes' rule with the given label does the rest.

Sources: the confident joint is Northcutt, Jiang and Chuang (JAIR 2021); anchors are
Patrini et al. (CVPR 2017).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

STEPS = 30  # of expectation-maximisation
ANCHORS = 0.1  # share of a class's samples that are its most confident
FEWEST_ANCHORS = 20
SURER = 0.4  # share of a class's samples that are surer than others
PRIOR = 0.5  # of a sample, with each label: none is ruled out
SUREST = 0.02  # the surest of them,
FEWEST_SUREST = 5
SURELY = 1.64  # standard errors
UNLIKELY = 0.05  # that there are none
MISLABELLED = 0.03  # share of wrong labels at the anchors below which none is sure,
MISLABELLED_ALONE = 0.05  # and where one class alone has any
ROWS = 2**16  # samples at once
TINY = 1e-12


def labels_of_surest(
    p: Tensor, given: Tensor, share: float = ANCHORS, fewest: int = FEWEST_ANCHORS
) -> Tensor:
    """How often each label (columns) is given to the samples most surely of each class
    (rows), (C, C).

    p: (N, C) predictions for samples that were not trained on; given: (N,) labels. As
    many samples a class as a ``share`` of its labels, and at least ``fewest`` if there
    are so many that it is the likeliest class of.

    >>> p = torch.eye(2)[[0, 0, 1, 1]]
    >>> labels_of_surest(p, torch.tensor([0, 1, 1, 1]))
    tensor([[1., 1.],
            [0., 2.]])
    """
    classes = p.shape[1]
    counts = torch.zeros(classes, classes, device="cpu")
    likely = p.argmax(1).bincount(minlength=classes).tolist()
    of = given.bincount(minlength=classes).tolist()
    for c in range(classes):
        size = min(max(fewest, round(share * of[c])), likely[c])
        if size:  # beyond the likely ones none is surely of it
            surest = given[p[:, c].topk(size).indices]
            counts[c] = surest.bincount(minlength=classes)
    return counts


def anchors(
    p: Tensor, given: Tensor, share: float = ANCHORS, fewest: int = FEWEST_ANCHORS
) -> tuple[Tensor, Tensor]:
    """Other labels among the samples most surely of each class, and how many samples
    those are, both (C,); arguments as for ``labels_of_surest``.

    >>> p = torch.eye(2)[[0, 0, 1, 1]]
    >>> anchors(p, torch.tensor([0, 1, 1, 1]))
    (tensor([1., 0.]), tensor([2., 2.]))
    """
    counts = labels_of_surest(p, given, share, fewest)
    return counts.sum(1) - counts.diagonal(), counts.sum(1)


def anchor_rates(p: Tensor, given: Tensor) -> Tensor:
    """Share of wrong labels among the anchors of each class, (C,).

    Hard samples get fewer towards the surest, wrong labels do not. Where the surest of
    the anchors, of all classes together, surely have fewer other labels than the rest,
    the shares go down by as much: what was counted there were mistakes of the network.

    >>> p = torch.eye(2)[[0, 0, 1, 1]]
    >>> anchor_rates(p, torch.tensor([0, 1, 1, 1]))
    tensor([0.5000, 0.0000])
    """
    wrong, sizes = anchors(p, given)
    surest, few = anchors(p, given, SUREST, FEWEST_SUREST)
    rates = wrong / sizes.clamp(min=1)
    usual, tail = (
        float(x.sum() / n.sum().clamp(min=1))
        for x, n in ((wrong, sizes), (surest, few))
    )
    error = (usual * (1 - usual) / max(1.0, float(few.sum()))) ** 0.5
    return rates * (tail / usual) if tail < usual - SURELY * error else rates


def confident_joint(p: Tensor, given: Tensor) -> Tensor:
    """Samples by true class (rows) and given label (columns), (C, C), as far as
    predictions p (N, C) tell: a sample is counted for the likeliest of the classes that
    it reaches the mean confidence of, and else not at all.

    >>> p = torch.tensor([[0.9, 0.1], [0.9, 0.1], [0.1, 0.9], [0.95, 0.05]])
    >>> confident_joint(p, torch.tensor([0, 0, 1, 1]))
    tensor([[2., 1.],
            [0., 1.]])
    """
    classes = p.shape[1]
    counts = given.bincount(minlength=classes).float()
    own = p.gather(1, given[:, None]).squeeze(1)
    sums = torch.zeros(classes, device="cpu").scatter_add_(0, given, own)
    needed = torch.where(counts > 0, sums / counts.clamp(min=1), 2.0)
    reached = p.masked_fill(p < needed - 1e-6, -1.0)
    sure, likely = reached.max(1)
    index = (likely * classes + given)[sure >= 0]
    return index.bincount(minlength=classes**2).view(classes, classes).float()


def mislabelled(p: Tensor, given: Tensor, sure: Tensor) -> Tensor:
    """(C,) bool: the classes that surely have wrong labels, by the shares ``sure`` (C,)
    of them at the anchors. Where those of all classes together do not surely show any,
    a class must do so by itself, and more: of ten classes one is always the hardest."""
    sizes = anchors(p, given)[1]
    wrong, classes = (sure * sizes).round(), int((sizes > 0).sum())
    if chance(wrong.sum(), sizes.sum(), MISLABELLED).item() < UNLIKELY:
        return sure >= MISLABELLED
    return chance(wrong, sizes, MISLABELLED_ALONE) < UNLIKELY / max(1, classes)


def chance(wrong: Tensor, n: Tensor, share: float) -> Tensor:
    """P(as many as ``wrong`` of ``n`` or more) where each is with chance ``share``.

    >>> chance(torch.tensor([0.0, 1.0]), torch.tensor([2.0, 2.0]), 0.5)
    tensor([1.0000, 0.7500])
    """
    from scipy.special import betainc  # here: imports of rlap do not wait for scipy

    w = wrong.clamp(min=1)  # the tail of a binomial by the incomplete beta function
    tail = betainc(w.numpy(), (n - w + 1).numpy(), share)
    found = torch.as_tensor(tail, device="cpu")
    return torch.where(wrong < 1, 1.0, found.float())


class Transition(NamedTuple):
    """P(given label | true class), (C, C): the estimate, and the two that it is the
    middle of, with fewer and with more wrong labels."""

    middle: Tensor
    fewer: Tensor
    more: Tensor


def transition(p: Tensor, given: Tensor) -> Transition:
    """T from predictions p (N, C) for samples not trained on, and labels (N,).

    Which classes a class is taken for, the labels of its surer samples say: among these
    mistakes of the network are rarer, and wrong labels are not. How often has two
    answers. The joint counts mistakes of the network as wrong labels, too: too many.
    Anchors are chosen by predictions that were learnt from the labels, which they agree
    with more than others do: too few. The truth lies between. A class whose anchors are
    right has a row of the identity; one that they do not surely call mislabelled keeps
    the few that they show if another class surely is, and else none.

    >>> p = torch.eye(2)[[0, 0, 1, 1]]
    >>> transition(p, torch.tensor([0, 0, 1, 1])).middle
    tensor([[1., 0.],
            [0., 1.]])
    """
    joint, sure = confident_joint(p, given), anchor_rates(p, given)
    # by rows alone: who is counted depends on the true class's probability. Columns
    # that were made to add up would favour the class of which more reach the mean
    counts = joint.sum(1)
    others = labels_of_surest(p, given, SURER) + PRIOR
    others.fill_diagonal_(0)
    others /= others.sum(1, keepdim=True)
    mistaken = 1 - joint.diagonal() / counts.clamp(min=TINY)
    known = mislabelled(p, given, sure)
    fewer, more = torch.minimum(sure, mistaken), torch.maximum(sure, mistaken)

    def matrix(rates: Tensor) -> Tensor:
        # whoever mislabels some classes is seldom right about all of the others
        rates = torch.where(known, rates, fewer * known.any())
        return others * rates[:, None] + (1 - rates).diag()

    return Transition(matrix((fewer + more) / 2), matrix(fewer), matrix(more))


def unmix(p: Tensor, matrix: Tensor, steps: int = STEPS) -> Tensor:
    """The true classes' probabilities q (N, C) whose labels would have those of p: q
    maximises sum_j p_j log (q T)_j, by ``steps`` of expectation-maximisation.

    >>> T = torch.tensor([[0.75, 0.25], [0.25, 0.75]])
    >>> unmix(torch.tensor([[0.75, 0.25]]), T, steps=500).round(decimals=2)
    tensor([[1., 0.]])
    """
    parts = []
    for some in p.split(ROWS):
        q = some.clone()
        for _ in range(steps):
            q = q * ((some / (q @ matrix).clamp(min=TINY)) @ matrix.T)
        parts.append(q / q.sum(1, keepdim=True).clamp(min=TINY))
    return torch.cat(parts)


def posterior(p: Tensor, matrix: Tensor, given: Tensor) -> Tensor:
    """P(true class | sample, given label), (N, C), from predictions p (N, C) of the
    *given* label.

    >>> T = torch.tensor([[0.75, 0.25], [0.25, 0.75]])
    >>> posterior(torch.tensor([[0.75, 0.25]]), T, torch.tensor([0])).shape
    torch.Size([1, 2])
    """
    return bayes(unmix(p, matrix), matrix, given)


def bayes(q: Tensor, matrix: Tensor, given: Tensor) -> Tensor:
    """P(true class | sample, given label), (N, C), from predictions q (N, C) of the
    *true* class: proportional to q_c T[c, given].

    >>> T = torch.tensor([[0.75, 0.25], [0.25, 0.75]])
    >>> bayes(torch.tensor([[0.5, 0.5]]), T, torch.tensor([0]))
    tensor([[0.7500, 0.2500]])
    """
    q = q * matrix.T[given]
    total = q.sum(1, keepdim=True)
    # a label that no class can have been given: nothing is known against it
    known = torch.nn.functional.one_hot(given, q.shape[1]).to(q.dtype)
    return torch.where(total > TINY, q / total.clamp(min=TINY), known)
