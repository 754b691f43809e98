"""A module of PyTorch from a plain function."""

import torch
from torch import nn


class Net(nn.Module):
    """Layers and tensors by name, and a forward pass ``forward(self, x)`` as a plain function."""

    def __init__(self, function, buffers=None, **parts):
        super().__init__()
        self.function = function
        for name, part in parts.items():
            setattr(self, name, nn.Parameter(part) if isinstance(part, torch.Tensor) else part)
        for name, value in (buffers or {}).items():
            self.register_buffer(name, value)

    def forward(self, x):
        return self.function(self, x)
