"""lucid's page of nn.MSELoss: its three examples."""

from __future__ import annotations

import blocks
import numpy as np

MEAN = """
>>> import lucid.nn as nn
>>> from lucid import Tensor
>>>
>>> # Define input and target tensors
>>> input_tensor = Tensor([[2.5, 0.0, 2.0, 8.0]], requires_grad=True) # Shape: (1, 4)
>>> target_tensor = Tensor([[3.0, -0.5, 2.0, 7.0]]) # Shape: (1, 4)
>>>
>>> # Initialize MSELoss with default reduction ("mean")
>>> criterion = nn.MSELoss()
>>>
>>> # Compute loss
>>> loss = criterion(input_tensor, target_tensor)
>>> print(loss.item())
>>>
>>> # Backpropagation
>>> loss.backward()
>>> print(input_tensor.grad)
"""

SUM = """
>>> import lucid.nn as nn
>>> from lucid import Tensor
>>>
>>> # Define input and target tensors
>>> input_tensor = Tensor([[1.0, 2.0, 3.0]], requires_grad=True) # Shape: (1, 3)
>>> target_tensor = Tensor([[1.5, 2.5, 3.5]]) # Shape: (1, 3)
>>>
>>> # Initialize MSELoss with reduction="sum"
>>> criterion = nn.MSELoss(reduction="sum")
>>>
>>> # Compute loss
>>> loss = criterion(input_tensor, target_tensor)
>>> print(loss.item())
>>>
>>> # Backpropagation
>>> loss.backward()
>>> print(input_tensor.grad)
"""

# The page lost the indentation of the class when it was put on the web.
NETWORK = """
>>> import lucid.nn as nn
>>> from lucid import Tensor
>>>
>>> # Define a simple neural network model
>>> class SimpleRegressionModel(nn.Module):
...     def __init__(self):
...         super(SimpleRegressionModel, self).__init__()
...         self.linear = nn.Linear(in_features=2, out_features=1)
...
...     def forward(self, x):
...         return self.linear(x)
...
>>>
>>> # Initialize the model and loss function
>>> model = SimpleRegressionModel()
>>> criterion = nn.MSELoss()
>>>
>>> # Define input and target tensors
>>> input_data = Tensor([[1.0, 2.0]], requires_grad=True) # Shape: (1, 2)
>>> target = Tensor([[3.0]]) # Shape: (1, 1)
>>>
>>> # Forward pass
>>> output = model(input_data)
>>> print(output)
>>>
>>> # Compute loss
>>> loss = criterion(output, target)
>>> print(loss.item())
>>>
>>> # Backpropagation
>>> loss.backward()
>>> print(input_data.grad)
"""


def test_the_mean_is_0_375_and_its_gradient(device):
    names, printed = blocks.run(MEAN)
    assert printed.split("\n")[0] == "0.375"
    # The page prints [[-0.5, 0.5, 0.0, 0.5]], a slip: 2 * (2.5 - 3) / 4 is -0.25, and 2 * (0 + 0.5) / 4 is 0.25.
    np.testing.assert_array_equal(names["input_tensor"].grad.numpy(), [[-0.25, 0.25, 0.0, 0.5]])


def test_the_sum_is_0_75_and_its_gradient(device):
    names, printed = blocks.run(SUM)
    assert printed.split("\n")[0] == "0.75"
    np.testing.assert_array_equal(names["input_tensor"].grad.numpy(), [[-1.0, -1.0, -1.0]])


def test_a_network_learns_through_it(device):
    names, printed = blocks.run(NETWORK)
    weight, bias = (p.detach().numpy().astype(np.float64) for p in names["model"].parameters())
    error = weight @ [1.0, 2.0] + bias - 3.0
    np.testing.assert_allclose(float(printed.split("\n")[1]), error[0] ** 2, rtol=1e-5)
    np.testing.assert_allclose(names["input_data"].grad.numpy(), 2 * error * weight, rtol=1e-5)


def test_none_means_no_reduction():
    from netcl import Tensor, nn

    assert nn.MSELoss(reduction=None)(Tensor([[1.0, 2.0]]), Tensor([[0.0, 0.0]])).shape == (1, 2)
