"""The odd things that ``inputs`` does, each with what must come of it."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import PurePath
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations
from torch.overrides import TorchFunctionMode
from torch.utils.flop_counter import FlopCounterMode

import rlap
from abusing.world import World

# what must come: the plain answer, an error, either of them; or any answer, or whatever
SAME, REFUSED, EITHER, ANY, FREE = "same", "refused", "either", "any", "free"


@dataclass(frozen=True)
class Twist:
    """``change`` twists the field ``about`` of a world ("around": where it is called);
    ``reference`` makes the world in which the plain call gives the same answer."""

    about: str
    name: str
    wanted: str
    change: Callable[[World], object]
    reference: Callable[[World], object] | None = None


TWISTS: list[Twist] = []


def twist(about: str, name: str, wanted: str, make: Callable[[Any], Any], same=None):
    """A twist that replaces a field by ``make`` of it, and by ``same`` in the world of
    the reference."""

    field = "model" if about == "output" else about

    def setting(function):
        return lambda w: setattr(w, field, function(getattr(w, field)))

    TWISTS.append(Twist(about, name, wanted, setting(make), same and setting(same)))


class Marked(Tensor):
    """Somebody's own kind of tensor."""


def strided(x: Tensor) -> Tensor:
    """Every other row of a tensor of twice as many."""
    return torch.stack((x, torch.full_like(x, 7)), 1)[:, 0]


def inference(x: Tensor) -> Tensor:
    """A tensor of inference mode."""
    with torch.inference_mode():
        return x.clone()


def mapped(x: Tensor) -> Tensor:
    """On memory that must not be written."""
    array = x.numpy().copy()
    array.setflags(write=False)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.from_numpy(array)


def spoiled(x: Tensor, value: float) -> Tensor:
    """One value in the last row."""
    x = x.clone()
    x.view(-1)[-1] = value
    return x


for about in ("x", "scores"):
    twist(about, "every other row of a larger one", SAME, strided)
    twist(about, "requires a gradient", SAME, lambda v: v.clone().requires_grad_())
    twist(about, "a Parameter", SAME, lambda v: nn.Parameter(v.clone()))
    twist(about, "computed, with a graph behind it", SAME,
          lambda v: v.clone().requires_grad_() * 1)  # fmt: skip
    twist(about, "of inference mode", SAME, inference)
    twist(about, "in shared memory", SAME, lambda v: v.clone().share_memory_())
    twist(about, "on read-only memory", SAME, mapped)
    twist(about, "of a class of one's own", EITHER, lambda v: v.as_subclass(Marked))
    twist(about, "float64", EITHER, lambda v: v.double())
    twist(
        about,
        "bfloat16",
        EITHER,
        lambda v: v.bfloat16(),
        lambda v: v.bfloat16().float(),
    )
    twist(about, "float16", EITHER, lambda v: v.half(), lambda v: v.half().float())
    twist(about, "float8", EITHER, lambda v: v.to(torch.float8_e4m3fn),
          lambda v: v.to(torch.float8_e4m3fn).float())  # fmt: skip
    twist(about, "complex", REFUSED, lambda v: v + 0j)
    twist(about, "a view with the conjugate bit", REFUSED, lambda v: (v + 1j).conj())
    twist(about, "a view with the negative bit", SAME,
          lambda v: torch.complex(v, -v).conj().imag)  # fmt: skip
    twist(about, "infinite at the end", REFUSED, lambda v: spoiled(v, -float("inf")))
    twist(about, "NaN at the end", REFUSED, lambda v: spoiled(v, float("nan")))
    twist(about, "booleans", FREE, lambda v: v > 0)
    twist(about, "of rank 0", REFUSED, lambda v: v.flatten()[0])
    twist(about, "a numpy scalar", REFUSED, lambda v: np.float32(1))
    twist(about, "a quantised one", REFUSED,
          lambda v: torch.quantize_per_tensor(v, 0.1, 0, torch.qint8))  # fmt: skip
    twist(about, "a pair", REFUSED, lambda v: (v, v))
    twist(about, "a generator", REFUSED, lambda v: iter(v))
twist("x", "columns first in memory", SAME, lambda v: v.T.contiguous().T)
twist("x", "of three dimensions", REFUSED, lambda v: v[:, :, None])
twist("x", "no features", REFUSED, lambda v: v[:, :0])
twist("x", "one row a thousand times, expanded", EITHER,
      lambda v: v[:1].expand(60, -1), lambda v: v[:1].repeat(60, 1))  # fmt: skip
twist("x", "subnormal", FREE, lambda v: v * 1e-42)
twist("x", "all the same", FREE, lambda v: torch.zeros_like(v))
twist("x", "negative zeros", EITHER, lambda v: -torch.zeros_like(v), torch.zeros_like)
twist("scores", "two values", FREE, lambda v: (v > 2).float())
twist("scores", "all the same", FREE, lambda v: torch.ones_like(v))
twist("scores", "one of them", REFUSED, lambda v: v[:1])
twist("scores", "a column", FREE, lambda v: v[:, None])
for kind in (torch.int8, torch.uint8, torch.int16, torch.int32):
    twist("y", f"{kind}", SAME, lambda v, kind=kind: v.to(kind))
for kind in (torch.uint16, torch.uint32, torch.uint64):
    twist("y", f"{kind}", EITHER, lambda v, kind=kind: v.to(kind))
twist("y", "every other of twice as many", SAME, strided)
twist("y", "on read-only memory", SAME, mapped)
twist("y", "of inference mode", SAME, inference)
twist("y", "of a class of one's own", EITHER, lambda v: v.as_subclass(Marked))
twist("y", "one of them -1", REFUSED, lambda v: v.masked_fill(v == 2, -1))
twist(
    "y", "one of them beyond 2 ** 40", REFUSED, lambda v: v.masked_fill(v == 2, 2**40)
)
twist("y", "one-hot", REFUSED, lambda v: nn.functional.one_hot(v))
twist("y", "a column", FREE, lambda v: v[:, None])
twist("y", "floats", REFUSED, lambda v: v.float())
twist("y", "strings", REFUSED, lambda v: [str(int(i)) for i in v])
twist("y", "one too many", REFUSED, lambda v: torch.cat((v, v[:1])))
twist("seed", "a numpy integer", SAME, lambda v: np.int64(v))
twist("seed", "a tensor", EITHER, lambda v: torch.tensor(v))
twist("seed", "a fraction", REFUSED, lambda v: Fraction(1, 2))
twist("seed", "true", REFUSED, lambda v: True)
twist("seed", "beyond 64 bits", REFUSED, lambda v: 2**64)
twist("seed", "a generator", REFUSED, lambda v: torch.Generator())
twist("batch_size", "a numpy integer", SAME, lambda v: np.int32(7))
twist("batch_size", "one", SAME, lambda v: 1)
twist("batch_size", "more than anyone has", SAME, lambda v: 10**15)
twist("batch_size", "true", REFUSED, lambda v: True)
twist("batch_size", "a float", REFUSED, lambda v: 8.0)
twist("batch_size", "words", REFUSED, lambda v: "8")
twist("layer", "a string of numpy", SAME, lambda v: np.str_(v))
twist("layer", "a number", REFUSED, lambda v: 2)
twist("layer", "nothing", REFUSED, lambda v: "")
twist("layer", "bytes", REFUSED, lambda v: b"2")
twist("layer", "a path", REFUSED, lambda v: PurePath("2"))
twist("layer", "with a dot behind", REFUSED, lambda v: "2.")
twist("layer", "an attribute of the layer", REFUSED, lambda v: "2.weight")
twist("layer", "the network itself", REFUSED, lambda v: ".")
twist("layer", "a very long name", REFUSED, lambda v: "a." * 10**5)
twist("layer", "with a line break", REFUSED, lambda v: "2\n")
twist("layer", "an unhashable", REFUSED, lambda v: ["2"])
twist("units", "a set", SAME, lambda v: set(v))
twist("units", "a generator", SAME, lambda v: (i for i in v))
twist("units", "numpy, unsigned", SAME, lambda v: np.array(v, dtype=np.uint8))
twist("units", "backwards", SAME, lambda v: v[::-1])
twist("units", "a dictionary", SAME, lambda v: dict.fromkeys(v))
twist("units", "a mask", REFUSED, lambda v: torch.arange(8) < 2)
twist("units", "floats", REFUSED, lambda v: [1.0, 4.0])
twist("units", "beyond 64 bits", REFUSED, lambda v: [2**70])
twist("units", "a string of digits", REFUSED, lambda v: "14")
twist("units", "true", REFUSED, lambda v: [True])
twist("units", "a pair of pairs", REFUSED, lambda v: [[1], [4]])
twist("units", "ragged", REFUSED, lambda v: [[1], [4, 5]])
twist("amount", "a numpy integer", SAME, lambda v: np.int16(v))
twist("amount", "a fraction", EITHER, lambda v: Fraction(1, 4), lambda v: 0.25)
twist("amount", "NaN", REFUSED, lambda v: float("nan"))
twist("amount", "true", REFUSED, lambda v: True)
twist("amount", "more than there are", REFUSED, lambda v: 10**6)
twist("amount", "below nothing", REFUSED, lambda v: -1e-9)
twist("amount", "a list", REFUSED, lambda v: [2])
twist("recipe", "a class instead of one of it", REFUSED, lambda v: rlap.Recipe)
twist("recipe", "batches larger than the data", ANY,
      lambda v: rlap.Recipe(epochs=1, batch_size=10**9))  # fmt: skip


# --- networks -------------------------------------------------------------------------


class Around(nn.Module):
    """A network whose forward does something to what another returns."""

    def __init__(self, inner: nn.Sequential, after: Callable[[Tensor], Any]) -> None:
        super().__init__()
        for name, module in inner.named_children():
            self.add_module(name, module)
        self.after = after

    def forward(self, x: Tensor) -> Any:
        for module in self.children():
            x = module(x)
        return self.after(x)


class Counting(Around):
    """Counts its calls in a buffer, in eval mode too."""

    def __init__(self, inner: nn.Sequential) -> None:
        super().__init__(inner, self.count)
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def count(self, logits: Tensor) -> Tensor:
        self.calls += 1
        return logits


class Tiring(Around):
    """Raises an error of its own at the third call."""

    def __init__(self, inner: nn.Sequential) -> None:
        super().__init__(inner, self.tire)
        self.calls = 0

    def tire(self, logits: Tensor) -> Tensor:
        self.calls += 1
        if self.calls == 1:
            return logits
        raise RuntimeError("this network is tired after one call")


def hooked(model: nn.Module) -> nn.Module:
    """A hook that looks, and one that gives back what it was given."""
    model[2].register_forward_hook(lambda module, args, out: None)
    model[3].register_forward_pre_hook(lambda module, args: args)
    return model


def mixed(model: nn.Module) -> nn.Module:
    """One layer in train mode, the rest in eval mode."""
    model[1].train()
    return model


def without_bias(model: nn.Module) -> nn.Module:
    """The layer has no bias."""
    model[2].bias = None
    return model


def frozen(model: nn.Module) -> nn.Module:
    """No parameter wants a gradient."""
    return model.requires_grad_(False)


def spoilt(model: nn.Module) -> nn.Module:
    """A weight of the first layer is NaN."""
    with torch.no_grad():
        model[0].weight[0, 0] = float("nan")
    return model


def of_norm(model: nn.Module) -> nn.Module:
    """The layer's weight is computed from two others."""
    parametrizations.weight_norm(model[2])
    return model


def exported(model: nn.Module) -> nn.Module:
    """What torch.export makes of it, for batches of any size."""
    shapes = ({0: torch.export.Dim.AUTO},)
    return torch.export.export(
        model, (torch.zeros(60, 6),), dynamic_shapes=shapes
    ).module()


def counted(model: nn.Module) -> nn.Module:
    """Gradients have gathered in it."""
    model(torch.ones(2, 6)).sum().backward()
    return model


twist("model", "with hooks that only look", SAME, hooked)
twist("model", "in train mode", SAME, lambda m: m.train())
twist("model", "one layer in train mode", SAME, mixed)
twist("model", "with gradients from before", EITHER, counted)
twist("model", "no bias", ANY, without_bias)
twist("model", "frozen", EITHER, frozen)
twist("model", "counting its calls", SAME, lambda m: Counting(m))
twist("model", "tired after a call", FREE, lambda m: Tiring(m))
twist("model", "a NaN weight", FREE, spoilt)
twist("model", "weight norm", FREE, of_norm)
twist("model", "double", EITHER, lambda m: m.double())
twist("model", "half", EITHER, lambda m: m.half())
twist("model", "on meta", REFUSED, lambda m: m.to("meta"))
twist("model", "scripted", EITHER, lambda m: torch.jit.script(m))
twist("model", "frozen by jit", EITHER, lambda m: torch.jit.freeze(torch.jit.script(m)))
twist("model", "in DataParallel", EITHER, lambda m: nn.DataParallel(m))
twist("model", "exported", EITHER,
      lambda m: exported(m))  # fmt: skip
twist("model", "quantised", EITHER, lambda m: torch.ao.quantization.quantize_dynamic(m))
twist("model", "a class", REFUSED, lambda m: nn.Sequential)
twist("model", "a state dict", REFUSED, lambda m: m.state_dict())
twist("output", "returns a list", REFUSED, lambda m: Around(m, lambda z: [z]))
twist("output", "returns a string", REFUSED, lambda m: Around(m, str))
twist("output", "returns nothing", REFUSED, lambda m: Around(m, lambda z: None))
twist(
    "model", "returns numpy", REFUSED, lambda m: Around(m, lambda z: z.detach().numpy())
)
twist("output", "returns one number", REFUSED, lambda m: Around(m, lambda z: z.sum()))
twist("output", "returns a row less", REFUSED, lambda m: Around(m, lambda z: z[1:]))
twist(
    "model",
    "returns class numbers",
    REFUSED,
    lambda m: Around(m, lambda z: z.argmax(1)),
)
twist("output", "returns maps", REFUSED, lambda m: Around(m, lambda z: z[:, :, None]))
twist("output", "returns int64", REFUSED, lambda m: Around(m, lambda z: z.long()))


# --- where it is called ---------------------------------------------------------------


class Passing(TorchFunctionMode):
    """Sees every function of torch and changes none."""

    def __torch_function__(self, func, types, args=(), kwargs=None):
        return func(*args, **(kwargs or {}))


@contextmanager
def default_dtype() -> Iterator[None]:
    """New tensors are float64."""
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextmanager
def deterministic() -> Iterator[None]:
    """Only deterministic algorithms."""
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextmanager
def two_threads() -> Iterator[None]:
    """Two threads of torch."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextmanager
def someone_else() -> Iterator[None]:
    """A thread that multiplies matrices meanwhile."""
    stop = threading.Event()

    def work() -> None:
        while not stop.is_set():
            torch.ones(50, 50) @ torch.ones(50, 50)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


AROUND = {
    "no_grad": torch.no_grad,
    "default dtype float64": default_dtype,
    "deterministic algorithms": deterministic,
    "two threads": two_threads,
    "another thread at work": someone_else,
    "a function mode": Passing,
    "a dispatch mode": lambda: FlopCounterMode(display=False),
    "saved tensors on disk": torch.autograd.graph.save_on_cpu,
    "anomaly detection": torch.autograd.detect_anomaly,
    "numpy raises": lambda: np.errstate(all="raise"),
    "a default device": lambda: torch.device("cpu"),
    "the profiler": torch.profiler.profile,
}
for name, context in AROUND.items():
    TWISTS.append(
        Twist("around", name, SAME, lambda w, c=context: setattr(w, "around", c))
    )
for name, context in (
    ("inference mode", torch.inference_mode),
    ("default device meta", lambda: torch.device("meta")),
):
    TWISTS.append(
        Twist("around", name, EITHER, lambda w, c=context: setattr(w, "around", c))
    )
