"""PyTorch's place for `utils.data`."""
