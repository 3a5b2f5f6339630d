"""How strongly each channel responds to each class, computed once and kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor, nn

from rlap.checks import check_finite, check_one_of, check_seed
from rlap.data.base import Split
from rlap.files import digests
from rlap.files.download import atomic
from rlap.files.tensors import read_tensors
from rlap.network.following import following_batchnorm
from rlap.network.layers import check_calls, get_layer, model_device, reading
from rlap.network.watching import Call, watching
from rlap.wording import in_brief

POOLINGS = ("max", "mean")
FORMAT = "rlap-class-statistics-3"


@dataclass(frozen=True)
class ClassStatistics:
    """Mean channel responses by class.

    Attributes:
        means: layer -> (C, d), the mean over a class's samples of the channel's
            response, which is ReLU of the convolution's (or its BatchNorm's) output,
            pooled over positions.
        spreads: layer -> (d,), the response's standard deviation over all samples.
        sites: layer -> the module whose output is that response before ReLU: the
            BatchNorm that follows, or the layer itself.
        counts: (C,) int64, samples of each class.
        pooling: "max" or "mean".
        digest: of the weights of the model they are of.

    >>> model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(8, 3))
    >>> split = Split(torch.rand(6, 1, 4, 4), torch.arange(6) % 3)
    >>> found = class_statistics(model, split)
    >>> found.means["0"].shape, found.counts
    (torch.Size([3, 2]), tensor([2, 2, 2]))
    """

    means: dict[str, Tensor]
    spreads: dict[str, Tensor]
    sites: dict[str, str]
    counts: Tensor
    pooling: str
    digest: str

    __repr__ = in_brief

    def check(self, model: nn.Module) -> None:
        """Raise ``ValueError`` unless these are statistics of ``model`` as it is."""
        if weight_digest(model) != self.digest:
            raise ValueError(
                "these statistics are of another model, or its weights have changed; "
                "compute them again with class_statistics"
            )

    def shuffled(self, seed: int) -> ClassStatistics:
        """The same with each layer's channels in random order: a control by which
        ``soft_prune`` weakens as many channels, as strongly, but any."""
        generator = torch.Generator().manual_seed(check_seed(seed))
        orders = {
            name: torch.randperm(m.shape[1], generator=generator, device="cpu").to(
                m.device
            )
            for name, m in self.means.items()
        }
        return replace(
            self,
            means={name: m[:, orders[name]] for name, m in self.means.items()},
            spreads={name: s[orders[name]] for name, s in self.spreads.items()},
        )

    def save(self, path: str | Path) -> None:
        """Write as safetensors: whole or not at all."""
        from safetensors.torch import save_file

        tensors = {"counts": self.counts.cpu()}
        for part in ("means", "spreads"):
            found = getattr(self, part).items()
            tensors |= {f"{part}/{k}": v.cpu().contiguous() for k, v in found}
        about = {"format": FORMAT, "pooling": self.pooling, "digest": self.digest}
        about["layers"] = "\n".join(self.means)  # their order
        about["sites"] = "\n".join(self.sites[name] for name in self.means)
        with atomic(Path(path)) as temporary:
            save_file(tensors, temporary, metadata=about)

    @classmethod
    def load(cls, path: str | Path) -> ClassStatistics:
        """Read what ``save`` wrote; ``ValueError`` for any other file."""
        about, tensors = read_tensors(
            path, FORMAT, "holds no class statistics written by rlap"
        )
        layers, sites = (about[key].split("\n") for key in ("layers", "sites"))
        return cls(
            {name: tensors[f"means/{name}"] for name in layers},
            {name: tensors[f"spreads/{name}"] for name in layers},
            dict(zip(layers, sites, strict=True)),
            tensors["counts"],
            about["pooling"],
            about["digest"],
        )


def weight_digest(model: nn.Module) -> str:
    """SHA-256 over names, shapes and values of the model's parameters and buffers."""
    return digests.of_tensors(model.state_dict())


@torch.no_grad()
def class_statistics(
    model: nn.Module,
    splits: Split | Sequence[Split],
    *,
    layers: Sequence[str] | None = None,
    pooling: str = "max",
    batch_size: int | None = None,
) -> ClassStatistics:
    """Mean response of every channel to every class, in one pass over the data.

    Args:
        model: any network with convolutions; left exactly as it was.
        splits: the data, one split or several.
        layers: names of nn.Conv2d layers; None takes all that run exactly once, for a
            channel that answers twice has no one response.
        pooling: over the positions of a channel, "max" or "mean".
        batch_size: samples at a time.

    Raises ``TypeError`` without convolutions or for a layer of another kind,
    ``ValueError`` for a named one that does not run exactly once, where none does, and
    for responses that are not finite.

    >>> model = nn.Sequential(nn.Conv2d(3, 2, 3), nn.Flatten(), nn.Linear(1800, 10))
    >>> class_statistics(model, data, pooling="mean").means["0"].shape
    torch.Size([10, 2])
    """
    check_one_of(pooling, POOLINGS, "pooling")
    splits = [splits] if isinstance(splits, Split) else list(splits)
    sites = response_sites(model, layers)
    watched = set(sites.values())
    classes, device = max(s.num_classes for s in splits), model_device(model)
    counts = torch.zeros(classes, dtype=torch.int64, device=device)
    sums: dict[str, Tensor] = {}
    squares: dict[str, Tensor] = {}
    seen: dict[str, list[Tensor]] = {name: [] for name in sites}

    def see(call: Call) -> None:
        for name, site in sites.items():
            if site == call.name:
                seen[name].append(pooled(call.output, pooling))

    for split in splits:
        labels = split.labels.to(device)
        with (
            reading(model, split.inputs, batch_size=batch_size) as batches,
            watching(model, watched, see),
        ):
            for x in batches:
                y, labels = labels[: len(x)], labels[len(x) :]
                model(x)
                counts += torch.bincount(y, minlength=classes)
                for name, found in seen.items():
                    if layers is not None:
                        check_calls(len(found), name)
                    if len(found) == 1:
                        add_rows(sums, name, found[0], y, classes)
                        add_rows(squares, name, found[0].square(), y, classes)
                    else:
                        sites.pop(name, None)
                    found.clear()
    if not sites:
        raise ValueError(
            "no nn.Conv2d of the model runs exactly once in a forward pass"
        )
    means, spreads, n = {}, {}, counts.sum().clamp(min=1)
    for name in sites:
        mean = (sums[name] / counts.clamp(min=1)[:, None]).float()
        means[name] = check_finite(mean, f"the response of {name!r}")
        variance = squares[name].sum(0) / n - (sums[name].sum(0) / n).square()
        spreads[name] = variance.clamp(min=0).sqrt().float()
    digest = weight_digest(model)
    return ClassStatistics(means, spreads, sites, counts, pooling, digest)


def response_sites(model: nn.Module, layers: Sequence[str] | None) -> dict[str, str]:
    """Convolution -> the module whose output is its response before ReLU."""
    if layers is None:
        modules = model.named_modules()
        layers = [name for name, m in modules if isinstance(m, nn.Conv2d)]
        if not layers:
            raise TypeError("the model has no nn.Conv2d, so no channels to suppress")
    for name in layers:
        if not isinstance(get_layer(model, name), nn.Conv2d):
            raise TypeError(f"layer {name!r} is no nn.Conv2d and has no channels")
    return {name: following_batchnorm(model, name) or name for name in layers}


def pooled(output: Tensor, pooling: str) -> Tensor:
    """ReLU of (B, d, H, W), pooled over positions: (B, d)."""
    response = output.float().relu()
    return response.amax((2, 3)) if pooling == "max" else response.mean((2, 3))


def add_rows(
    sums: dict[str, Tensor], name: str, rows: Tensor, labels: Tensor, classes: int
) -> None:
    """Add (B, d) rows to their classes' sums, (C, d) in float64."""
    total = sums.setdefault(name, rows.new_zeros(classes, rows.shape[1]).double())
    total.index_add_(0, labels, rows.double())
