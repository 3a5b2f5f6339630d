"""Stage 3: remove units by a mask that holds exactly.

A mask is plain data (names and indices), not a change of the module: the model's
state_dict keeps its keys, ``copy.deepcopy`` works, and the same mask fits every copy.
``train`` and ``finetune`` apply it after each optimiser step, which undoes whatever
momentum and weight decay did; for a loop of your own use ``mask.attach``.

They hold the one mask that they are given: what an earlier mask zeroed, that of a first
``robustify`` for example, a second one may train again.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor, nn

from rlap.checks import as_indices, check_tensor
from rlap.files.digests import of_tensors, sha
from rlap.files.tensors import read_tensors
from rlap.network.following import affine_batchnorm, following_norms
from rlap.network.layers import get_layer, num_units
from rlap.network.modes import check_own_weights
from rlap.network.precision import own_precision
from rlap.wording import in_brief

FORMAT = "rlap-mask-1"
KEYS = {"format", "layer", "bias", "batchnorm", "width"}  # and "digest"


@dataclass
class Mask:
    """Units of one layer that are held at zero.

    Attributes:
        layer: dotted name of the layer.
        units: (k,) int64, sorted.
        bias: whether the bias is masked too (a unit whose bias stays is a constant).
        batchnorm: dotted name of the BatchNorm that follows, masked too, or None.
        original: parameter name -> the rows that were zeroed, for ``undo``.
        width: d, the units that the layer has; None in files of older versions.

    ``apply``, ``undo``, ``holds`` and ``attach`` raise ``ValueError`` for a model that
    the mask does not fit.

    >>> mask = rlap.prune(model, layer="fc", units=[1, 2])
    >>> mask.holds(model), mask.undo(model), mask.holds(model)
    (True, None, False)
    """

    layer: str
    units: Tensor
    bias: bool = True
    batchnorm: str | None = None
    original: dict[str, Tensor] = field(default_factory=dict)
    width: int | None = None

    __repr__ = in_brief

    def parameters(self, model: nn.Module) -> dict[str, Tensor]:
        """The masked parameters of ``model`` by name; each has a row a unit."""
        layer = get_layer(model, self.layer)
        found = {f"{self.layer}.weight": layer.weight}
        if self.bias and layer.bias is not None:
            found[f"{self.layer}.bias"] = layer.bias
        if self.batchnorm is not None:
            norm = model.get_submodule(self.batchnorm)
            found[f"{self.batchnorm}.weight"] = norm.weight
            found[f"{self.batchnorm}.bias"] = norm.bias
        for name, parameter in found.items():
            self._check_rows(name, len(parameter))
        return found

    def _check_rows(self, name: str, rows: int) -> None:
        least = int(self.units.max()) + 1 if len(self.units) else 0
        if rows < least or rows != (self.width or rows):
            width = self.width or f"at least {least}"
            raise ValueError(
                f"the mask is of a layer with {width} units, but {name!r} has {rows}"
            )

    def describe(self) -> tuple[str, list[int], bool, str | None]:
        """What is masked, without the original values."""
        return self.layer, self.units.tolist(), self.bias, self.batchnorm

    @own_precision()
    @torch.no_grad()
    def apply(self, model: nn.Module) -> None:
        """Set the masked rows of ``model`` to zero, in place."""
        self.holder(model)()

    def holder(self, model: nn.Module) -> Callable[[], None]:
        """``apply`` for this model, to be called after each step: its parameters are
        looked up once."""
        found = list(self.parameters(model).values())
        units = [self.units.to(parameter.device) for parameter in found]

        @torch.no_grad()
        def hold() -> None:
            for parameter, rows in zip(found, units, strict=True):
                parameter.index_fill_(0, rows, 0)

        return hold

    @own_precision()
    @torch.no_grad()
    def undo(self, model: nn.Module) -> None:
        """Give the masked rows the values they had when ``prune`` was called."""
        if not self.original:
            raise ValueError("this mask holds no original values to restore")
        found = self.parameters(model)
        for name, parameter in found.items():  # all of them before any is changed
            rows = self.original.get(name)
            if rows is None or rows.shape[1:] != parameter.shape[1:]:
                held = None if rows is None else tuple(rows.shape[1:])
                raise ValueError(
                    f"a unit of {name!r} has values of shape "
                    f"{tuple(parameter.shape[1:])}; those that the mask holds: {held}"
                )
        for name, parameter in found.items():
            rows = self.original[name].to(parameter.device, parameter.dtype)
            parameter[self.units.to(parameter.device)] = rows

    def holds(self, model: nn.Module) -> bool:
        """Whether every masked row of ``model`` is exactly zero."""
        return all(
            not parameter[self.units.to(parameter.device)].any()
            for parameter in self.parameters(model).values()
        )

    def attach(self, optimizer: torch.optim.Optimizer, model: nn.Module):
        """Apply after every step of ``optimizer``; returns a handle with ``remove``."""
        self.apply(model)
        return optimizer.register_step_post_hook(lambda *_: self.apply(model))

    def save(self, path: str | Path) -> None:
        """Write the mask, original values included, as safetensors."""
        from safetensors.torch import save_file

        tensors = {"units": self.units.cpu()}
        tensors |= {
            f"original/{k}": v.cpu().contiguous() for k, v in self.original.items()
        }
        about = {"format": FORMAT, "layer": self.layer, "bias": str(self.bias)}
        if self.batchnorm is not None:
            about["batchnorm"] = self.batchnorm
        if self.width is not None:
            about["width"] = str(self.width)
        about["digest"] = _digest(about, tensors)
        save_file(tensors, path, metadata=about)

    @classmethod
    def load(cls, path: str | Path) -> Mask:
        """Read what ``save`` wrote; ``ValueError`` for any other file."""
        about, tensors = read_tensors(path, FORMAT, "is not a mask written by rlap")
        digest = about.pop("digest", None)  # files of older versions have none
        if digest not in (None, _digest(about, tensors)):
            raise ValueError(f"{path} is damaged: its content is not what was written")
        try:
            return cls._read(about, tensors)
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"{path} is no mask, or damaged: {error}") from error

    @classmethod
    def _read(cls, about: dict[str, str], tensors: dict[str, Tensor]) -> Mask:
        if unknown := set(about) - KEYS:  # a damaged name would hide what it names
            raise ValueError(f"nobody knows what {sorted(unknown)} says")
        units = tensors.pop("units")
        width = int(about["width"]) if "width" in about else None
        most = width if width is not None else 2 + max(units.tolist(), default=0)
        if not torch.equal(check_units(units, most), units):
            raise ValueError("the units are not sorted whole numbers")
        bias = {"True": True, "False": False}[about["bias"]]
        original = {k.removeprefix("original/"): v for k, v in tensors.items()}
        for name, rows in original.items():
            if len(rows) != len(units):
                raise ValueError(f"{len(rows)} rows of {name!r} for {len(units)} units")
        return cls(about["layer"], units, bias, about.get("batchnorm"), original, width)


def _digest(about: dict[str, str], tensors: dict[str, Tensor]) -> str:
    """Digest of all that a file of a mask says."""
    return sha(
        *sum(sorted(about.items()), ()), of_tensors(dict(sorted(tensors.items())))
    )


def prune(
    model: nn.Module,
    *,
    layer: str,
    units: Tensor | Iterable[int],
    bias: bool = True,
    batchnorm: str | None = "auto",
) -> Mask:
    """Zero units of ``layer`` in place, and return the mask that keeps them so.

    Args:
        model: any module.
        layer: dotted name of an nn.Linear or a convolution.
        units: (k,) indices of output features or channels; none is allowed, all is not.
        bias: include the layer's bias, so that a pruned unit is exactly silent; the
            released code keeps it.
        batchnorm: dotted name of the BatchNorm that follows, whose weight and bias are
            masked too (else its shift revives the channel); "auto" (with the bias)
            takes the one that alone reads the layer's output, if any, and warns of
            other norms that do, behind which the units are not silent; None leaves it.

    A unit is a class where the layer's outputs are the logits: its logit is then always
    zero, which is rarely meant, and nothing here refuses it. To prune twice and hold
    both, ``attach`` both masks to the optimiser, or of one layer prune the units of
    both at once: ``train`` and ``finetune`` take a single mask.

    Raises ``KeyError``/``TypeError`` for an unusable layer, ``ValueError`` for units
    that are out of range, repeated, or all there are, for parameters that another
    module owns too, and where "auto" cannot tell. Source: paper section 3.3.

    >>> mask = rlap.prune(model, layer="fc", units=[1, 2])
    >>> model.fc.weight[mask.units].abs().sum().item()
    0.0
    """
    module = get_layer(model, layer)
    check_own_weights(module, layer)
    chosen = check_units(units, num_units(module))
    if batchnorm == "auto":
        batchnorm = _own_batchnorm(model, layer) if bias else None
    elif batchnorm is not None:
        check_batchnorm(model, batchnorm, num_units(module))
    mask = Mask(layer, chosen, bias, batchnorm, width=num_units(module))
    check_untied(model, mask.parameters(model))
    mask.original = {
        name: parameter.detach()[chosen.to(parameter.device)].clone().cpu()
        for name, parameter in mask.parameters(model).items()
    }
    mask.apply(model)
    return mask


def _own_batchnorm(model: nn.Module, layer: str) -> str | None:
    """The BatchNorm to mask with ``layer``; a warning of norms that cannot be."""
    batchnorm, others = following_norms(model, layer)
    if others:
        named = ", ".join(others[:3])
        if len(others) > 3:
            named += f" and {len(others) - 3} more"
        warnings.warn(
            f"the pruned units of {layer!r} are zero, but not behind what reads them "
            f"and is not masked: {named}; batchnorm='...' masks a "
            "BatchNorm by name, batchnorm=None says that none is to be",
            stacklevel=3,
        )
    return batchnorm


def check_units(units: Tensor | Iterable[int], d: int) -> Tensor:
    """Sorted (k,) int64 indices in 0..d-1 without repeats, fewer than d."""
    try:
        chosen = as_indices(units if isinstance(units, Tensor) else list(units))
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(f"units must be a list of indices, not {units!r}") from error
    chosen = check_tensor(chosen, "units").detach()
    if chosen.numel() == 0:
        return torch.zeros(0, dtype=torch.int64, device="cpu")
    if (
        chosen.dim() != 1
        or chosen.dtype.is_floating_point
        or chosen.dtype == torch.bool
    ):
        raise ValueError(
            f"units must be a list of indices, not {chosen.dtype} values "
            f"of shape {tuple(chosen.shape)}"
        )
    chosen = chosen.to("cpu", torch.int64).sort().values
    if chosen[0] < 0 or chosen[-1] >= d:
        wrong = chosen[0] if chosen[0] < 0 else chosen[-1]
        raise ValueError(f"unit {int(wrong)} is out of range: the layer has {d} units")
    if len(chosen.unique()) < len(chosen):
        raise ValueError("units are repeated")
    if len(chosen) == d:
        raise ValueError(f"all {d} units would be pruned: nothing would pass the layer")
    return chosen


def check_untied(model: nn.Module, masked: dict[str, Tensor]) -> None:
    """Nobody else may own the parameters: their rows would be zero there as well."""
    names = {id(parameter): name for name, parameter in masked.items()}
    for owner, module in model.named_modules():
        for key, parameter in module.named_parameters(recurse=False):
            own = names.get(id(parameter))
            if own is not None and own != (other := f"{owner}.{key}".lstrip(".")):
                raise ValueError(
                    f"{own!r} is also {other!r}: its units cannot be pruned without "
                    "those of the other; untie the two first"
                )


def check_batchnorm(model: nn.Module, name: str, d: int) -> None:
    """``name`` must be a BatchNorm with d affine channels."""
    norm = dict(model.named_modules()).get(name)
    if norm is None:
        raise KeyError(f"the model has no module {name!r}")
    if not affine_batchnorm(norm, d):
        raise ValueError(f"{name!r} is not an affine BatchNorm over {d} channels")
