"""Convolutions of small images on a CPU: several images side by side, in strips.

oneDNN, PyTorch's library for CPUs, feeds the matrix unit (AMX) with the pixels of one
row of one image. The unit wants 16 to 32 of them; the last layers of a network for
small images have 4 or 8, and most of it idles: the weight gradient of 512 channels at
4x4 runs at a tenth of the rate of a plain matrix product. Here the images of a batch
lie side by side in a few wide ones, with columns of zeros between them where a kernel
would see the neighbour. The results differ from the plain ones as the order of a sum
does; ``benchmarks/training.py`` tells what it saves.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable
from torch.nn.grad import conv2d_input, conv2d_weight
from torch.overrides import TorchFunctionMode

from rlap.network.layers import model_device

CHANNELS = 128  # of inputs and outputs, at least: below, copying costs what is saved
NARROW = 8  # columns of an output, at most: wider ones fill the unit by themselves
TINY = 4  # up to here a weight gradient is faster as one product of matrices
WIDE = 80  # columns of a strip of outputs, at most: beyond 40 the gain is small


def strips_for(model: nn.Module, precision: str) -> AbstractContextManager:
    """A context, to be entered at each pass of ``model``: ``Strips`` where they help,
    for convolutions of many channels in bfloat16 on a CPU with AMX, else nothing."""
    if precision != "bf16" or model_device(model).type != "cpu" or not has_amx():
        return nullcontext()
    layers = (m for m in model.modules() if isinstance(m, nn.Conv2d))
    large = any(min(m.in_channels, m.out_channels) >= CHANNELS for m in layers)
    return Strips() if large else nullcontext()


@cache
def has_amx() -> bool:
    """Whether this CPU has the matrix unit (without it strips are a little slower).
    An older PyTorch cannot tell."""
    return getattr(torch.cpu, "get_capabilities", dict)().get("amx_bf16", False)


class Strips(TorchFunctionMode):
    """While active, convolutions of small images in channels_last run in strips, in the
    type of the autocast around them. All others run as ever, whatever the network: what
    is caught is the call of ``F.conv2d``, not a layer.

    >>> net = torch.nn.Conv2d(128, 128, 3, padding=1)
    >>> x = torch.randn(16, 128, 4, 4).to(memory_format=torch.channels_last)
    >>> with torch.autocast("cpu", torch.bfloat16), Strips():
    ...     net(x).shape
    torch.Size([16, 128, 4, 4])
    """

    def __torch_function__(
        self, func: Callable, types: tuple, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        if func is torch.conv2d and len(args) == 7 and not kwargs:
            x, weight, bias, stride, *rest = args
            images = images_a_strip(x, weight, stride, *rest)
            if images > 1:
                x = x.to(torch.get_autocast_dtype("cpu"))
                return StripConvolution.apply(x, weight, bias, stride[0], images)
        return func(*args, **(kwargs or {}))


def images_a_strip(
    x: Tensor, weight: Tensor, stride: object, padding: object, dilation: object,
    groups: int,
) -> int:  # fmt: skip
    """How many images (B, I, H, W) to lay side by side; 1 to leave them as they are."""
    kernel = weight.shape[-1]
    usable = (
        x.dim() == 4
        and x.device.type == "cpu"
        and torch.is_autocast_enabled("cpu")
        and x.is_contiguous(memory_format=torch.channels_last)
        and not x.is_contiguous()  # else the output would not be in channels_last
        and weight.shape[2:] in ((3, 3), (5, 5))
        and stride in ((1, 1), (2, 2))
        and padding == (kernel // 2, kernel // 2)
        and dilation == (1, 1)
        and groups == 1
    )
    if not usable or min(weight.shape[:2]) < CHANNELS:
        return 1
    columns = pitch(x.shape[3], kernel, stride[0]) // stride[0]
    if -(-x.shape[3] // stride[0]) > NARROW:
        return 1
    return max(n for n in range(1, WIDE // columns + 1) if len(x) % n == 0)


def pitch(width: int, kernel: int, stride: int) -> int:
    """Columns from one image to the next in a strip: half a kernel apart, and each
    starts on a stride."""
    return -(-(width + kernel // 2) // stride) * stride


def side_by_side(x: Tensor, images: int, pitch: int) -> Tensor:
    """Images (B, C, H, W) in strips (B / images, C, H, images * pitch)."""
    b, c, h, w = x.shape
    strips = x.new_zeros(b // images, h, images, pitch, c)
    pixels = x.permute(0, 2, 3, 1).reshape(b // images, images, h, w, c)
    strips[:, :, :, :w] = pixels.transpose(1, 2)
    return strips.flatten(2, 3).permute(0, 3, 1, 2)


def taken_apart(strips: Tensor, images: int, width: int) -> Tensor:
    """Strips (B / images, C, H, images * pitch) as images (B, C, H, width) again."""
    n, c, h, w = strips.shape
    pixels = strips.permute(0, 2, 3, 1).reshape(n, h, images, w // images, c)
    pixels = pixels[:, :, :, :width].transpose(1, 2).contiguous()
    return pixels.view(n * images, h, width, c).permute(0, 3, 1, 2)


class StripConvolution(torch.autograd.Function):
    """(B, I, H, W) by weights (O, I, k, k), k odd, padded by k // 2, in strips."""

    @staticmethod
    def forward(
        ctx, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, images: int
    ) -> Tensor:
        """(B, O, H / stride, W / stride), in the type of ``x``."""
        width, half = x.shape[3], weight.shape[3] // 2
        ctx.types = weight.dtype, None if bias is None else bias.dtype
        ctx.stride, ctx.images = stride, images
        weight = weight.to(x.dtype, memory_format=torch.channels_last)
        ctx.save_for_backward(x, weight)
        strips = side_by_side(x, images, pitch(width, weight.shape[3], stride))
        bias = None if bias is None else bias.to(x.dtype)
        strips = F.conv2d(strips, weight, bias, stride, half)
        return taken_apart(strips, images, -(-width // stride))

    @staticmethod
    @once_differentiable
    def backward(ctx, grad: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        (b, c, h, width), kernel, images = x.shape, weight.shape[3], ctx.images
        given = ctx.stride, kernel // 2
        apart = pitch(width, kernel, ctx.stride)
        grads = side_by_side(grad, images, apart // ctx.stride)
        grad_x = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            wide = (b // images, c, h, images * apart)
            grad_x = conv2d_input(wide, weight, grads, *given)
            grad_x = taken_apart(grad_x, images, width)
        if ctx.needs_input_grad[1]:
            if grad.shape[3] <= TINY:
                grad_weight = weight_gradient(x, grad, kernel, ctx.stride)
            else:
                strips = side_by_side(x, images, apart)
                grad_weight = conv2d_weight(strips, weight.shape, grads, *given)
            grad_weight = grad_weight.to(ctx.types[0])
        if ctx.needs_input_grad[2]:
            grad_bias = grad.sum(dim=(0, 2, 3), dtype=ctx.types[1])
        return grad_x, grad_weight, grad_bias, None, None


def weight_gradient(x: Tensor, grad: Tensor, kernel: int, stride: int) -> Tensor:
    """The gradient (O, I, k, k) from images (B, I, ...) and their outputs' gradients
    (B, O, h, w): those of all pixels, times the patches of ``x`` that the pixels saw.
    """
    (_, outputs, h, w), half = grad.shape, kernel // 2
    x = F.pad(x.permute(0, 2, 3, 1), (0, 0, half, half, half, half))
    rows, columns = stride * (h - 1) + 1, stride * (w - 1) + 1
    patches = torch.stack(
        [
            x[:, i : i + rows : stride, j : j + columns : stride]
            for i in range(kernel)
            for j in range(kernel)
        ],
        dim=3,
    )  # (B, h, w, k * k, I)
    grad = grad.permute(0, 2, 3, 1).reshape(-1, outputs)  # (B * h * w, O)
    product = grad.T @ patches.reshape(len(grad), -1)
    return product.view(outputs, kernel, kernel, -1).permute(0, 3, 1, 2)
