"""Networks stated in PyTorch."""

from symvi.torch_bridge.bridge import from_torch
from symvi.torch_bridge.network import TorchNetwork

__all__ = ["TorchNetwork", "from_torch"]
