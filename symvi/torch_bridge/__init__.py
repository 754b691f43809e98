"""Networks stated in PyTorch."""
