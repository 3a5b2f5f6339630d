"""All ways to forget, by name; one's own are added by ``register``."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from rlap.checks import check_one_of
from rlap.data.base import Split
from rlap.network.layers import SUPPORTED
from rlap.network.precision import own_precision
from rlap.unlearning.common.begin import same_answers
from rlap.unlearning.common.own import as_settings, guarded, takes
from rlap.unlearning.common.splits import ForgettingData
from rlap.unlearning.methods.damp import forget_damp
from rlap.unlearning.methods.distilled import forget_delete, forget_scrub
from rlap.unlearning.methods.esc import forget_esc
from rlap.unlearning.methods.lra_layers import forget_lra_npp_layers
from rlap.unlearning.methods.lra_npp import forget_lra_npp
from rlap.unlearning.methods.oneshot import forget_logit_mask, forget_ssd, ssd_hint
from rlap.unlearning.methods.osp import forget_osp
from rlap.unlearning.methods.salun import forget_salun
from rlap.unlearning.methods.svd import forget_sap, forget_svd_projection
from rlap.unlearning.methods.trained import (
    forget_boundary_shrink,
    forget_fine_tune,
    forget_neggrad_plus,
    forget_random_labels,
    forget_retrain,
)

DATA = ("none", "forget", "retain", "both")
Settings = Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Method:
    """An unlearning method: ``function``, the ``data`` it looks at ("none", "forget",
    "retain" or "both"), and whether it ``trains``.

    ``settings``: options that ``rlap.unlearning.forget`` chooses from, the gentlest
    first; ``several``: whether it forgets several classes at once; ``samplewise``:
    whether its definition allows any set of samples to be forgotten, not only classes;
    ``edits``: the kinds of layers that it goes through, where it means to go through
    all and cannot; ``hint``: why it may have failed on such data, or "".

    >>> METHODS["ssd"].data
    'both'
    """

    function: Callable[..., nn.Module]
    data: str
    trains: bool
    settings: Settings = field(default=({},))
    several: bool = True
    samplewise: bool = False
    edits: tuple[type[nn.Module], ...] = ()
    hint: Callable[[ForgettingData], str] = field(default=lambda data: "")

    def __post_init__(self) -> None:
        check_one_of(self.data, DATA, "data")

    @own_precision()
    def __call__(
        self,
        model: nn.Module,
        forget: Split,
        retain: Split | None,
        *,
        samplewise: bool = False,
        **options: object,
    ) -> nn.Module:
        """A new model that has forgotten the classes of ``forget``; with ``samplewise``
        these samples alone (``ValueError`` where the method forgets classes only). A
        warning tells where it is the old one."""
        new = self.make(model, forget, retain, samplewise=samplewise, **options)
        if same_answers(model, new, forget.inputs):
            warnings.warn(
                f"{self.function.__name__} changed nothing with these options; "
                "rlap.unlearning.forget tries several and tells what came of them",
                stacklevel=3,
            )
        return new

    def make(
        self,
        model: nn.Module,
        forget: Split,
        retain: Split | None,
        *,
        samplewise: bool = False,
        **options: object,
    ) -> nn.Module:
        """The same for who looks at what came of it: there is no warning."""
        if samplewise:
            self.check_samplewise()
            options["samplewise"] = True
        return self.function(model, forget, retain, **options)

    def out_of_reach(self, model: nn.Module) -> tuple[str, ...]:
        """Names of trained layers that a method for all of them goes past."""
        if not self.edits:
            return ()
        others = [
            (name, module.named_parameters(recurse=False))
            for name, module in model.named_modules()
            if not isinstance(module, self.edits)
        ]
        return tuple(
            name
            for name, own in others
            if any("weight" in k and p.dim() > 1 and p.requires_grad for k, p in own)
        )

    def takes(self, option: str) -> bool:
        """Whether the function has this option."""
        return takes(self.function, option)

    def check_samplewise(self) -> None:
        """Raise ``ValueError`` where the method forgets classes only."""
        if not self.samplewise:
            able = ", ".join(name for name, m in METHODS.items() if m.samplewise)
            raise ValueError(
                "this method forgets whole classes, by its definition; a set of "
                f"samples can be forgotten by: {able}"
            )


# of the features' directions; the authors' default is 0.03, and their p a percentage
ESC_SETTINGS = tuple({"share": share} for share in (0.004, 0.01, 0.03, 0.1, 0.4))
ANY = {"samplewise": True}
PROJECTS = {"edits": SUPPORTED}
METHODS = {
    "retrain": Method(forget_retrain, "retain", True, **ANY),
    "logit_mask": Method(forget_logit_mask, "none", False),
    "lra_npp": Method(forget_lra_npp, "forget", False),
    "lra_npp_layers": Method(forget_lra_npp_layers, "forget", False),
    "osp": Method(forget_osp, "both", False, several=False),
    "ssd": Method(forget_ssd, "both", False, **ANY, hint=ssd_hint),
    "svd_projection": Method(forget_svd_projection, "both", False, **PROJECTS),
    "sap": Method(forget_sap, "retain", False, **ANY, **PROJECTS),
    "esc": Method(forget_esc, "forget", False, ESC_SETTINGS),
    "damp": Method(forget_damp, "both", False, **PROJECTS),
    "fine_tune": Method(forget_fine_tune, "retain", True, **ANY),
    "neggrad_plus": Method(forget_neggrad_plus, "both", True, **ANY),
    "random_labels": Method(forget_random_labels, "both", True, **ANY),
    "salun": Method(forget_salun, "both", True, **ANY),
    "boundary_shrink": Method(forget_boundary_shrink, "forget", True, **ANY),
    "scrub": Method(forget_scrub, "both", True, **ANY),
    "delete": Method(forget_delete, "forget", True, **ANY),
}
OURS = frozenset(METHODS)


def register(
    name: str,
    *,
    data: str = "both",
    trains: bool = False,
    settings: Settings = ({},),
    several: bool = True,
    samplewise: bool = False,
) -> Callable[[Callable[..., nn.Module]], Callable[..., nn.Module]]:
    """A decorator that adds one's own function to ``METHODS``; see ``Method``.

    The function takes (model, forget, retain) and options and returns a model; the one
    that it is given is a copy, which it may change. One that is ``samplewise`` has an
    option of that name. ``seed`` and, where it ``trains``, ``recipe`` are given to one
    that takes them. One's own may be registered again, as when a notebook's cell is run
    twice. Raises ``ValueError`` for the name of a method that comes with rlap and for
    no settings, ``TypeError`` for no name, no function and options that it lacks; what
    it returns is checked when it is called.

    >>> @register("halved", data="none")
    ... def halved(model, forget, retain):
    ...     return METHODS["logit_mask"](model, forget, retain)
    >>> METHODS.pop("halved").trains
    False
    """
    if not isinstance(name, str) or not name:
        raise TypeError("give the method's name, a text: @register('mine')")
    if name in OURS:
        raise ValueError(f"rlap has a method {name!r}; take another name")
    check_one_of(data, DATA, "data")
    tried = as_settings(settings)

    def add(function: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
        options = {option for setting in tried for option in setting}
        options |= {"samplewise"} if samplewise else set()
        call = guarded(function, name, options)
        METHODS[name] = Method(call, data, trains, tried, several, samplewise)
        return function

    return add
