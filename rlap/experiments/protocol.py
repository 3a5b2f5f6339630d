"""Protocols: one field for each known difference between code, words and good practice.

``released`` does what the public code does, mistakes included; ``described`` is the
paper's method with the plain mistakes put right and its budgets kept; ``controlled`` is
what a careful experimenter would run. An ablation is a named protocol with fields
changed, written "released+decay=onecycle+shuffle=true".

The numbers in the fields are those of the list of differences
(``rlap.ledger.differences``). What a field changes in a run is in
``rlap.experiments.plan``, and nowhere else.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, replace
from functools import cache

from rlap.attribution import METHODS
from rlap.experiments.checked import ParameterError

CIFAR10, SPEECH = "cifar10", "speech_commands"
BOTH = (CIFAR10, SPEECH)


class ProtocolError(ParameterError):
    """A protocol, a field or a value that there is not."""


def differs(
    meaning: str,
    *,
    audit: tuple[int, ...],
    allowed: tuple = (False, True),
    on: tuple[str, ...] = BOTH,
    rivals_only: bool = False,
):
    """A field that takes one of ``allowed`` and acts on the data sets ``on``;
    ``rivals_only`` if only on the criteria that the regression is compared with."""
    about = {"meaning": meaning, "audit": audit, "allowed": allowed, "on": on}
    return field(metadata=about | {"rivals_only": rivals_only})


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How a run is done; see each field's meaning.

    Raises ``ProtocolError`` for a value that a field does not take.
    """

    cluster: str = differs(
        "the high-quality part: mixture component 1 (unless the truth says that it is "
        "wrong for 99.5 %), the one of higher confidence, or by the truth",
        audit=(1, 2),
        allowed=("one", "confidence", "truth"),
    )
    target: str = differs(
        "the regression target of a sample: looked up by its class, or its own",
        audit=(7,),
        allowed=("class", "sample"),
        on=(CIFAR10,),
    )
    bias: bool = differs("pruning zeroes the bias of a unit too", audit=(9,))
    mask: bool = differs("pruned units are held at zero afterwards", audit=(9,))
    redraw: bool = differs("noise is drawn anew at every access", audit=(24,))
    shuffle: bool = differs("the initial training shuffles its batches", audit=(14,))
    head_batchnorm: str = differs(
        "L-FT re-estimates the BatchNorm statistics of the frozen backbone, or not",
        audit=(15,),
        allowed=("update", "eval"),
    )
    decay: str = differs(
        "the learning rate of initial training and retraining: constant, in steps "
        "within the budget, or one-cycle",
        audit=(11,),
        allowed=("none", "steps", "onecycle"),
        on=(CIFAR10,),
    )
    augment: bool = differs(
        "crops and flips, in all arms but L-FT", audit=(), on=(CIFAR10,)
    )
    finetune_decay: bool = differs(
        "the learning rate of L-FT and F-FT decays", audit=(11,)
    )
    retrain_epochs: str = differs(
        "epochs of retraining: as the initial training, or as that and fine-tuning "
        "together",
        audit=(13,),
        allowed=("initial", "total"),
    )
    roles: str = differs(
        "retain and forget set of the criteria abs, rms, freq, std",
        audit=(18,),
        allowed=("swapped", "right"),
        rivals_only=True,
    )
    equal_pruning: bool = differs(
        "every criterion prunes as many units, and their bias alike",
        audit=(10, 21),
        rivals_only=True,
    )
    standardise: bool = differs(
        "the regression ranks slopes of standardised activations", audit=(8,)
    )
    covariance: str = differs(
        "covariance of the mixture's components", audit=(4,), allowed=("full", "diag")
    )
    start: str = differs(
        "where the mixture's fit begins: k-means, or the halves of the total "
        "attribution",
        audit=(),
        allowed=("kmeans", "total"),
    )
    attribution: str = differs(
        "the attribution that is clustered", audit=(3,), allowed=METHODS
    )
    head: str = differs(
        "L-FT trains the first layer of the head only, or the whole head",
        audit=(16,),
        allowed=("first", "whole"),
        on=(SPEECH,),
    )
    frames: int = differs(
        "frames of the MFCCs: padded to 130, or the 32 of the signal",
        audit=(39,),
        allowed=(130, 32),
        on=(SPEECH,),
    )
    split: str = differs(
        "test clips drawn at random, or from speakers of their own",
        audit=(40,),
        allowed=("random", "speaker"),
        on=(SPEECH,),
    )
    monitor: str = differs(
        "the learning rate follows the accuracy on the test set, on a validation set, "
        "or nothing: then it is a cosine from four times as high",
        audit=(38,),
        allowed=("test", "validation", "none"),
        on=(SPEECH,),
    )
    retrain_mode: str = differs(
        "retraining stays in eval mode after its first epoch, or trains",
        audit=(36,),
        allowed=("eval", "train"),
        on=(SPEECH,),
    )

    def __post_init__(self) -> None:
        for f in fields(self):
            value, allowed = getattr(self, f.name), f.metadata["allowed"]
            if value not in allowed or type(value) is not type(allowed[0]):
                raise ProtocolError(
                    f"{f.name} is {value!r}; choose one of {allowed}"
                    + near(str(value), allowed)
                )

    def changes_from(self, other: Protocol) -> dict[str, object]:
        """The fields in which this differs from ``other``, with this one's values."""
        pairs = {f.name: getattr(self, f.name) for f in fields(self)}
        return {k: v for k, v in pairs.items() if v != getattr(other, k)}


_RELEASED = Protocol(
    cluster="one",
    target="class",
    bias=False,
    mask=False,
    redraw=True,
    shuffle=False,
    head_batchnorm="update",
    decay="none",
    augment=False,
    finetune_decay=False,
    retrain_epochs="initial",
    roles="swapped",
    equal_pruning=False,
    standardise=False,
    covariance="full",
    start="kmeans",
    attribution="gradient_x_activation",
    head="first",
    frames=130,
    split="random",
    monitor="test",
    retrain_mode="eval",
)
_DESCRIBED = replace(
    _RELEASED,
    cluster="confidence",
    target="sample",
    bias=True,
    mask=True,
    redraw=False,
    shuffle=True,
    head_batchnorm="eval",
    decay="steps",
    roles="right",
    equal_pruning=True,
    head="whole",
    frames=32,
    monitor="validation",
    retrain_mode="train",
)
_CONTROLLED = replace(
    _DESCRIBED,
    decay="onecycle",
    augment=True,
    finetune_decay=True,
    retrain_epochs="total",
    split="speaker",
    monitor="none",
)
PROTOCOLS = {
    "released": _RELEASED,
    "described": _DESCRIBED,
    "controlled": _CONTROLLED,
}


@cache
def protocol_of(text: str) -> Protocol:
    """The protocol that ``text`` names: "released", "controlled+mask=false", ...

    Raises ``ProtocolError`` for an unknown name, field or value, or a field changed
    twice.
    """
    base, *changes = text.split("+")
    if base not in PROTOCOLS:
        raise ProtocolError(
            f"unknown protocol {base!r}{near(base, PROTOCOLS)}; "
            f"choose one of {tuple(PROTOCOLS)}, then +field=value"
        )
    known = {f.name: f.metadata["allowed"] for f in fields(Protocol)}
    changed: dict[str, object] = {}
    for change in changes:
        name, equals, written = change.partition("=")
        if not equals or name not in known:
            raise ProtocolError(
                f"{change!r} in {text!r} is not field=value{near(name, known)} "
                f"(fields: {', '.join(known)})"
            )
        if name in changed:
            raise ProtocolError(f"{text!r} changes {name} twice")
        values = {spelled(value): value for value in known[name]}
        if written not in values:
            raise ProtocolError(f"{change!r}: {name} takes one of {tuple(values)}")
        changed[name] = values[written]
    return replace(PROTOCOLS[base], **changed)


def name_of(text: str) -> str:
    """``text`` in its one canonical form.

    Changes are sorted by field, those without effect are dropped, and a protocol that
    has a name of its own goes by it.
    """
    protocol = protocol_of(text)
    for name, named in PROTOCOLS.items():
        if protocol == named:
            return name
    base = text.split("+")[0]
    return changed_name(base, protocol.changes_from(PROTOCOLS[base]))


def changed_name(base: str, changes: dict[str, object]) -> str:
    """ "base+field=value+..." with the fields sorted."""
    return "+".join([base, *(f"{k}={spelled(v)}" for k, v in sorted(changes.items()))])


def spelled(value: object) -> str:
    """A field's value as it is written in a name: true, false, 130, onecycle."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def near(word: str, known) -> str:
    """ " (did you mean ...?)" or nothing."""
    found = difflib.get_close_matches(word, [str(k) for k in known], n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""


@cache
def acts_on(name: str, dataset: str) -> bool:
    """Whether the field ``name`` changes anything for the method on ``dataset``."""
    about = {f.name: f.metadata for f in fields(Protocol)}[name]
    return dataset in about["on"] and not about["rivals_only"]


def steps(start: str, end: str, dataset: str) -> Iterator[tuple[str, str]]:
    """Walk from one named protocol to another, a field at a time.

    Yields (name of the protocol, field changed last), in the order of the fields: the
    method's mistakes come first, then the practice of training. Fields that do not act
    there change together with the last step, so that it ends at ``end``.
    """
    wanted = PROTOCOLS[end].changes_from(PROTOCOLS[start])
    acting = [name for name in wanted if acts_on(name, dataset)]
    idle = {k: v for k, v in wanted.items() if k not in acting}
    done: dict[str, object] = {}
    yield start, ""
    for name in acting:
        done[name] = wanted[name]
        extra = idle if name == acting[-1] else {}
        yield name_of(changed_name(start, {**done, **extra})), name
