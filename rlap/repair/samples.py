"""Data as people have them, read a batch at a time; and whatever a network returns.

Nothing here holds all the inputs in memory unless ``Samples.read`` asks for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, IterableDataset, Subset

from rlap.checks import as_indices, check_inputs, check_labels
from rlap.data.base import Split
from rlap.network.layers import preserved_random_state, stacked
from rlap.stored import Stored

BATCH = 256
KEPT = 2**29  # values of a data set's inputs that are kept as float32: 2 GB
ONE = torch.ones(1, dtype=torch.bool)


class Batch(NamedTuple):
    """Inputs (B, ...) in float32, labels (B,) int64, and what names each sample."""

    inputs: Tensor
    labels: Tensor
    ids: list


class Samples:
    """Samples of any of these: a ``Split``; (inputs, labels) or (inputs, labels, ids)
    of tensors or numpy arrays, memory-mapped ones, too, or pandas columns; a torch
    ``Dataset``, or a sequence of four and more, of (input, label) or (input, label,
    id).

    ``prepare`` turns a batch as stored into what the network takes; by default uint8
    becomes float in [0, 1], and other numbers have to be float. Raises ``TypeError``
    for anything else, with what to give instead. ``notes`` say what of a ``Split`` is
    not used.

    >>> images = np.zeros((5, 3, 4, 4), dtype=np.uint8)
    >>> [len(batch.ids) for batch in Samples((images, np.arange(5))).batches(size=3)]
    [3, 2]
    """

    def __init__(
        self,
        data: Any,
        prepare: Callable[[Tensor], Tensor] | None = None,
        name: str = "data",
    ) -> None:
        self.prepare, self.name = prepare or as_floats, name
        self.data, self._stored = data, True
        self.notes: list[str] = []
        self._passes = 0  # batches that were read in no order
        if isinstance(data, Split):
            for part in ("weights", "targets"):
                if getattr(data, part) is not None:
                    self.notes.append(f"The {part} of the {name} are not used.")
            self.data = (data.fixed_inputs(), data.labels)
        elif isinstance(data, DataLoader):
            raise TypeError("give the data set of the DataLoader: loader.dataset")
        elif isinstance(data, tuple | list) and len(data) in (2, 3):
            lengths = {len(part) for part in data}
            if len(lengths) != 1:
                raise ValueError(
                    f"inputs, labels (and ids) of the {name} differ in length: "
                    f"{lengths}"
                )
            self.data = tuple(map(in_order, data))
        else:
            self._stored = False
            check_rows(data, name)
        if len(self) == 0:
            raise ValueError(f"there are no samples in the {name}")

    def __len__(self) -> int:
        return len(self.data[0]) if self._stored else len(self.data)

    def batches(
        self, rows: Sequence[int] | None = None, size: int = BATCH
    ) -> Iterator[Batch]:
        """The samples (of ``rows``, by default all) in order, ``size`` at a time."""
        raw = self._read(rows, size) if self._stored else self._load(rows, size)
        start = 0
        for inputs, labels, ids in raw:
            inputs, labels = self.prepare(tensor(inputs)), self.numbers(labels)
            if ids is None:
                ids = range(start, start + len(labels))
                ids = ids if rows is None else [int(rows[i]) for i in ids]
            if not inputs.is_floating_point():
                raise TypeError(
                    f"inputs of the {self.name} must be floating point or uint8, not "
                    f"{inputs.dtype}: give prepare=torch.Tensor.float, or what suits"
                )
            self.check_finite(inputs, ids)
            inputs = check_inputs(inputs, f"inputs of the {self.name}").float()
            labels = check_labels(
                labels, len(inputs), name=f"labels of the {self.name}"
            )
            start += len(labels)
            yield Batch(inputs, labels, list(ids))

    def numbers(self, labels: Any) -> Tensor:
        """Labels as a tensor; ``TypeError`` for names of classes, of which only the
        order of the model's outputs says the number, ``ValueError`` for rows."""
        if not isinstance(labels, Tensor) and np.asarray(labels).dtype.kind in "USO":
            name = next(iter(labels))
            raise TypeError(
                f"labels of the {self.name} must be class numbers, not names such as "
                f"{str(name)!r}: give np.array([classes.index(name) for name in "
                "labels]), with classes a list of the names in the order of the "
                "model's outputs"
            )
        found = tensor(labels)
        if found.dim() == 2:
            how = "[:, 0]" if found.shape[1] == 1 else ".argmax(1) of 0 and 1"
            raise ValueError(
                f"labels of the {self.name} must be one number a sample, not rows of "
                f"{found.shape[1]}: give labels{how}"
            )
        return found

    @property
    def shape(self) -> torch.Size:
        """Of one input, as the network takes it."""
        with preserved_random_state(torch.device("cpu")):  # a transform may draw
            return next(self.batches([0], 1)).inputs.shape[1:]

    def check_finite(self, inputs: Tensor, ids: Sequence) -> None:
        """Raise ``ValueError`` that names a sample with NaN or infinite values."""
        finite = inputs.flatten(1).isfinite().all(1) if inputs.dim() > 1 else ONE
        if not finite.all():
            worst = ids[int(finite.int().argmin())]
            raise ValueError(
                f"sample {worst!r} of the {self.name} holds NaN or infinite values: "
                "leave such samples out, nothing can be learnt from them"
            )

    def _read(self, rows: Sequence[int] | None, size: int) -> Iterator[tuple]:
        for start in range(0, len(self) if rows is None else len(rows), size):
            part = slice(start, start + size)
            index = part if rows is None else np.asarray(rows[part])
            inputs, labels, *ids = (take(stored, index) for stored in self.data)
            yield inputs, labels, plain(ids[0]) if ids else None

    def _load(self, rows: Sequence[int] | None, size: int) -> Iterator[tuple]:
        data = self.data if rows is None else Subset(self.data, list(rows))
        own = torch.Generator()  # a loader draws from the global one otherwise
        for inputs, labels, *ids in DataLoader(data, batch_size=size, generator=own):
            yield inputs, labels, plain(ids[0]) if ids else None

    def read(self, rows: Sequence[int] | None = None) -> tuple[Split, list]:
        """The samples as a ``Split``, held in memory, and their ids."""
        ids: list = []

        def parts() -> Iterator[tuple[Tensor, Tensor]]:
            for batch in self.batches(rows):
                ids.extend(batch.ids)
                yield batch.inputs, batch.labels

        with preserved_random_state(torch.device("cpu")):  # a transform may draw
            found = stacked(parts(), len(self) if rows is None else len(rows))
        return Split(*found), ids

    def split(self) -> tuple[Split, list]:
        """The samples as a ``Split`` whose inputs are read when they are asked for, and
        their ids. What a ``Dataset`` makes of them is kept, up to ``KEPT`` values;
        beyond that it is made anew each time, random transforms included."""
        if not self._stored:
            values = len(self) * self.shape.numel()
            if values <= KEPT:
                return self.read()
            self.notes.append(
                f"Inputs of the {self.name} would take {4e-9 * values:.1f} GB: they "
                "are not kept, each pass reads them anew."
            )
        with preserved_random_state(torch.device("cpu")):  # a transform may draw
            told = [(batch.labels, batch.ids) for batch in self.batches()]
            device = next(self.batches([0], 1)).inputs.device
        labels = torch.cat([labels for labels, _ in told]).to(device)
        inputs = Stored(self.inputs, (len(self), *self.shape), device)
        return Split(inputs, labels), [name for _, ids in told for name in ids]

    def inputs(self, rows: Tensor | slice) -> Tensor:
        """Inputs (n, ...) of rows (n,) or of a slice, in float32."""
        if self._stored:
            index = rows if isinstance(rows, slice) else rows.numpy()
            return self.prepare(tensor(take(self.data[0], index))).detach().float()
        rows = range(len(self))[rows] if isinstance(rows, slice) else rows.tolist()
        self._passes += 1  # a transform may draw, and not the same each time
        with preserved_random_state(torch.device("cpu"), seed=self._passes):
            return next(self.batches(rows, len(rows))).inputs


def check_rows(data: Any, name: str) -> None:
    """Raise ``TypeError`` for what is no sequence of (input, label) or (input, label,
    id) with inputs that can be stacked, and say what to give instead."""
    rows = hasattr(data, "__getitem__") and hasattr(data, "__len__")
    rows = rows and not isinstance(data, IterableDataset)  # which has one that raises
    frame = hasattr(data, "iloc")
    if not rows or frame or isinstance(data, Tensor | np.ndarray | Mapping | str):
        raise TypeError(
            f"the {name} must be an rlap.Split, a pair (inputs, labels) of tensors or "
            "arrays, or a torch Dataset of (input, label) with a length, not a "
            f"{type(data).__name__}"
        )
    if not len(data):
        return
    with preserved_random_state(torch.device("cpu")):  # a transform may draw
        row = data[0]
    if isinstance(row, Mapping):
        names = ", ".join(map(repr, row))
        raise TypeError(
            f"the data's rows are mappings of {names}: give the columns with the "
            "inputs and the labels, as tensors or arrays: (data[...], data[...])"
        )
    if not isinstance(row, tuple | list) or len(row) not in (2, 3):
        raise TypeError(
            "each row of the data must be (input, label) or (input, label, id), not a "
            f"{type(row).__name__}"
        )
    if not isinstance(row[0], Tensor | np.ndarray):
        raise TypeError(
            f"inputs must be tensors or arrays, not {type(row[0]).__name__}: give the "
            "data set a transform, for images torchvision.transforms.ToTensor()"
        )


def as_floats(stored: Tensor) -> Tensor:
    """uint8 as float32 in [0, 1]; all else as it is."""
    return stored.float() / 255 if stored.dtype == torch.uint8 else stored


def tensor(values: Any) -> Tensor:
    """Values of a tensor or an array; copied, where the array may not be written."""
    if isinstance(values, Tensor):
        return values
    array = np.asarray(values)
    if array.dtype.kind not in "biuf":
        raise TypeError(
            f"values must be real numbers, not {array.dtype}: give classes as numbers "
            "from 0, and inputs as arrays of one shape"
        )
    return torch.from_numpy(array if array.flags.writeable else array.copy())


def in_order(column: Any) -> Any:
    """Stored values; of pandas as an array, for ``column[i]`` means another row there
    than the one at i."""
    return column.to_numpy() if hasattr(column, "to_numpy") else column


def take(stored: Any, index: Any) -> Any:
    """Rows of a tensor, an array or a list, as stored."""
    if isinstance(stored, Stored):
        return stored[index]
    if isinstance(stored, Tensor):
        index = index if isinstance(index, slice) else as_indices(index)
        return stored[index]
    if isinstance(stored, np.ndarray):
        return stored[index]
    return stored[index] if isinstance(index, slice) else [stored[i] for i in index]


def plain(ids: Any) -> list:
    """Names of samples as plain Python values."""
    return ids.tolist() if isinstance(ids, Tensor | np.ndarray) else list(ids)


class Logits(nn.Module):
    """A network as one that returns logits (B, C) and nothing else.

    ``output`` takes them from what the network returns; by default they are that
    itself, or what it calls "logits". Raises ``TypeError`` where that is no tensor.

    >>> class Wrapped(nn.Linear):
    ...     def forward(self, x):
    ...         return {"logits": super().forward(x)}
    >>> Logits(Wrapped(2, 3))(torch.ones(1, 2)).shape
    torch.Size([1, 3])
    """

    def __init__(
        self, network: nn.Module, output: Callable[[Any], Tensor] | None = None
    ) -> None:
        super().__init__()
        if output is not None and not callable(output):
            raise TypeError(
                "output must be a function of what the model returns, for example "
                f"lambda o: o.scores, not {output!r}"
            )
        self.network, self.output = network, output
        self.training = network.training

    def forward(self, x: Tensor) -> Tensor:
        returned = found = self.network(x)
        if self.output is not None:
            found = self.output(returned)
        elif isinstance(returned, Mapping):
            found = returned.get("logits", returned)
        else:
            found = getattr(returned, "logits", returned)
        if not isinstance(found, Tensor):
            raise TypeError(
                f"the model returned a {type(returned).__name__}: say how to take the "
                "logits (B, C) from it, output=lambda o: ..."
            )
        return found
