"""Projections of every layer's input, from the directions that classes use: the SVD
projection takes away what only the class needs, SAP keeps what the others use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from torch import Tensor, nn

from rlap.checks import check_positive
from rlap.data.base import Split
from rlap.repair.projection import Directions, input_moments, kept, rewritten
from rlap.unlearning.common.begin import begin
from rlap.unlearning.common.projecting import naming
from rlap.unlearning.common.splits import some


def forget_svd_projection(
    model: nn.Module,
    forget: Split,
    retain: Split,
    *,
    alpha_retain: float = 100.0,
    alpha_forget: float = 3.0,
    samples: int = 900,
    layers: Sequence[str] | None = None,
    seed: int = 0,
) -> nn.Module:
    """Project from every layer's input what the class needs and the others do not.

    For each layer the inputs (patches, for a convolution) of both sets are decomposed;
    with U the directions and s their shares of the variance about zero,
    M = U diag(a s / ((a - 1) s + 1)) U^T measures how much a set uses each direction,
    and W becomes W (I - (M_f - M_r M_f)): an input x loses M_f x, what the class uses
    of it, less what the others use of that. (The authors' I - (M_f - M_f M_r) is
    transposed where it meets the weights.) No gradients and no training.

    Args:
        alpha_retain, alpha_forget: a of each set (100 and 3 in the authors' code).
        samples: of each set, drawn from ``seed``.
        layers: names of linear layers and convolutions; None takes all that run. Of
            one that runs several times, the inputs of all its runs count.

    Raises ``TypeError`` without a retain set, without a layer to project, for one of
    another kind (a grouped convolution among them) and for one whose weight is computed
    from other parameters, ``KeyError`` for an unknown one, ``ValueError`` for settings
    out of range. Source: Kodge et al. (TMLR 2024).

    >>> model, split = nn.Linear(2, 3), Split(torch.rand(9, 2), torch.arange(9) % 3)
    >>> forget_svd_projection(model, split.subset([2, 5, 8]), split.subset([0, 1, 3]))
    Linear(in_features=2, out_features=3, bias=True)
    """
    begin(model, forget, retain, both=True)
    check_positive(alpha_retain, "alpha_retain")
    check_positive(alpha_forget, "alpha_forget")
    options = {"samples": samples, "layers": layers, "seed": seed}
    found = directions(model, forget, retain, **options)
    return projected(model, found, alpha_retain=alpha_retain, alpha_forget=alpha_forget)


@naming("svd_projection")
def directions(
    model: nn.Module,
    forget: Split,
    retain: Split,
    *,
    samples: int = 900,
    layers: Sequence[str] | None = None,
    seed: int = 0,
) -> dict[str, tuple[Directions, Directions]]:
    """Layer -> directions of the forget and of the retain set, whatever the a are;
    arguments as in ``forget_svd_projection``."""
    of_forget, of_retain = (
        input_moments(model, some(split, samples, seed), layers)
        for split in (forget, retain)
    )
    return {
        name: (Directions.of(moment), Directions.of(of_retain[name]))
        for name, moment in of_forget.items()
    }


def projected(
    model: nn.Module,
    found: Mapping[str, tuple[Directions, Directions]],
    *,
    alpha_retain: float = 100.0,
    alpha_forget: float = 3.0,
) -> nn.Module:
    """A new model whose weights no longer see what only the class needs."""
    check_positive(alpha_retain, "alpha_retain")
    check_positive(alpha_forget, "alpha_forget")

    def less(forget: Directions, retain: Directions, weight: Tensor) -> Tensor:
        rows = weight.flatten(1)
        unused = rows - retain.part(rows, alpha_retain)  # W (I - M_r)
        return rows - forget.part(unused, alpha_forget)

    return rewritten(
        model, {name: partial(less, *both) for name, both in found.items()}
    )


def forget_sap(
    model: nn.Module,
    forget: Split,
    retain: Split,
    *,
    alpha: float = 1e5,
    samples: int = 1000,
    layers: Sequence[str] | None = None,
    seed: int = 0,
    samplewise: bool = False,
) -> nn.Module:
    """Keep of every layer's input what the other classes use: W becomes W M_r.

    SAP's projection (see ``forget_svd_projection`` for M) is made for networks trained
    on wrong labels, with samples of small loss as those to trust; here the trusted ones
    are the retain set, and the forget set is only named. ``alpha`` is one of
    five between 1e4 and 1e6 in the authors' script, which chooses among them on
    held-out samples; a smaller one takes more away. Arguments and errors as
    ``forget_svd_projection``. Source: Kodge et al. (AAAI 2025), SAP; for a class: ours.

    >>> model, split = nn.Linear(2, 3), Split(torch.rand(9, 2), torch.arange(9) % 3)
    >>> forget_sap(model, split.subset([2, 5, 8]), split.subset([0, 1, 3]))
    Linear(in_features=2, out_features=3, bias=True)
    """
    begin(model, forget, retain, both=True, samplewise=samplewise)
    check_positive(alpha, "alpha")
    options = {"samples": samples, "layers": layers, "seed": seed}
    return kept(model, used(model, retain, **options), alpha=alpha)


@naming("sap")
def used(
    model: nn.Module,
    retain: Split,
    *,
    samples: int = 1000,
    layers: Sequence[str] | None = None,
    seed: int = 0,
) -> dict[str, Directions]:
    """Layer -> directions that the retain set uses, whatever SAP's alpha; arguments as
    in ``forget_sap``."""
    moments = input_moments(model, some(retain, samples, seed), layers)
    return {name: Directions.of(moment) for name, moment in moments.items()}
