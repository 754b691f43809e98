r"""Convolutions and largest values over windows, as products and maxima of shifted inputs.

1. Entry p of a window is the same for all windows in a strided slice of the input, shifted by p.
   With X_p the slice of entry p, and K the number of entries,

   conv(x, w) = sum_p w_p X_p  (a matrix product over channels and entries),  max = max_p X_p.

2. XLA has both as operations of their own, but on a processor the gradient of its convolution runs
   in a plain loop as soon as every draw has a kernel of its own, which is what a fit does: for 16
   draws, 400 images and 6 to 8 channels it took a hundred times as long as the products. The
   gradient of its maximum took five times as long. The price is memory for K copies of the input,
   and that one large convolution of a single draw is slower: so only small inputs go this way.
"""

from __future__ import annotations

import math
from functools import reduce
from itertools import product

import jax.numpy as jnp


def shifted(x, sizes: tuple, strides: tuple, pads: list, dilations: tuple, fill: float = 0.0):
    """X_p of all entries p of a window, each ``(*lead, *positions)``, in row-major order.

    Parameters
    ----------
    x : array ``(*lead, *inputs)``
    sizes, strides, dilations : tuples of int, one for each of the last axes
    pads : list of (int, int)
        Entries of value `fill` put before and after each of these axes.
    """
    lead = x.ndim - len(sizes)
    x = jnp.pad(x, [(0, 0)] * lead + list(pads), constant_values=fill)
    lasts = []  # where the last window begins
    for length, size, stride, dilation in zip(
        x.shape[lead:], sizes, strides, dilations, strict=True
    ):
        room = length - 1 - dilation * (size - 1)
        lasts.append(room // stride * stride)
    slices = []
    for entry in product(*map(range, sizes)):
        shifts = [place * dilation for place, dilation in zip(entry, dilations, strict=True)]
        along = zip(shifts, lasts, strides, strict=True)
        part = [slice(shift, shift + last + 1, stride) for shift, last, stride in along]
        slices.append(x[(..., *part)])
    return slices


def convolution(x, weight, strides: tuple, pads: list, dilations: tuple):
    """sum_p w_p X_p of inputs ``(N, channels, *inputs)``: ``(N, out, *positions)``.

    `weight` has shape ``(out, channels, *sizes)``. As ``jax.lax.conv_general_dilated``.
    """
    sizes = weight.shape[2:]
    entries = jnp.stack(shifted(x, sizes, strides, pads, dilations), axis=2)
    num, channels, _, *positions = entries.shape
    entries = entries.reshape(num, channels, math.prod(sizes), math.prod(positions))
    kernel = weight.reshape(*weight.shape[:2], -1)
    return jnp.einsum("ncpx,ocp->nox", entries, kernel).reshape(num, -1, *positions)


def largest(x, sizes: tuple, strides: tuple, pads: list, dilations: tuple):
    """max_p X_p over windows of the last axes; padding never is the largest."""
    return reduce(jnp.maximum, shifted(x, sizes, strides, pads, dilations, fill=-jnp.inf))
