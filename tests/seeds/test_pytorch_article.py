"""'How does PyTorch implement the Mean Squared Error loss?': its three examples."""

from __future__ import annotations

import blocks
import numpy as np
import pytest

EXAMPLE_1 = """
import torch
import torch.nn as nn

# Define input tensors (predictions and targets)
predictions = torch.tensor([1.1, 2.2, 3.3])
targets = torch.tensor([1.0, 2.0, 3.0])

# Instantiate the MSE loss function
mse_loss = nn.MSELoss()

# Calculate the MSE
loss = mse_loss(predictions, targets)

# Print the result
print(f"MSE Loss: {loss.item()}")
"""

EXAMPLE_2 = """
import torch
import torch.nn as nn

predictions = torch.tensor([[1.1, 2.2, 3.3], [4.4, 5.5, 6.6]])
targets = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])

mse_loss_sum = nn.MSELoss(reduction='sum')
loss_sum = mse_loss_sum(predictions, targets)
print(f"MSE Loss (sum): {loss_sum.item()}")
"""

EXAMPLE_3 = """
import torch
import torch.nn as nn

predictions = torch.tensor([[1.1, 2.2, 3.3], [4.4, 5.5, 6.6]])
targets = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])

mse_loss_none = nn.MSELoss(reduction='none')
loss_none = mse_loss_none(predictions, targets)
print(f"MSE Loss (none): \\n{loss_none}")
"""


def test_the_mean_is_0_0466667(device):
    _, printed = blocks.run(EXAMPLE_1)
    assert printed.startswith("MSE Loss: ")
    assert float(printed.split(":")[1]) == pytest.approx(0.0466667, abs=1e-7)


def test_the_sum_is_0_91(device):
    _, printed = blocks.run(EXAMPLE_2)
    assert printed.startswith("MSE Loss (sum): ")
    assert float(printed.split(":")[1]) == pytest.approx(0.91, rel=1e-6)


def test_none_keeps_each_element(device):
    names, printed = blocks.run(EXAMPLE_3)
    assert names["loss_none"].shape == (2, 3)
    np.testing.assert_allclose(names["loss_none"].numpy(), [[0.01, 0.04, 0.09], [0.16, 0.25, 0.36]], rtol=1e-5)
    assert printed == "MSE Loss (none): \ntensor([[0.0100, 0.0400, 0.0900],\n        [0.1600, 0.2500, 0.3600]])\n"
