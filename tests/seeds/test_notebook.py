"""The notebook on the mean squared error: a loss and its gradient written out, against the library's."""

from __future__ import annotations

import blocks
import pytest

LOSS = """
import torch
def mse_loss(y_hat, y, reduction= 'mean'):
    diff = y_hat - y
    loss = diff**2

    if reduction == 'mean':
        return loss.mean()
    elif reduction == 'sum':
        return loss.sum()
    elif reduction == 'None':
        return loss
    else:
        raise ValueError('reduction must be "mean" | "sum" | "none"')
"""

COMPARED = """
torch.manual_seed(0)
y = torch.randn(4, 3)
y_hat = torch.randn(4, 3, requires_grad=True)

print("Our mean loss:", mse_loss(y_hat, y, reduction="mean").item())

import torch.nn as nn
loss =nn.MSELoss()
criterion = loss(y_hat, y)
print(f'Torch Mean loss: {criterion}')
"""

GRADIENT = """
def mse_grad(y_hat, y, reduction='mean'):

    diff = y_hat - y
    if reduction == 'mean':
        return (2 * diff)/y_hat.numel()
    elif reduction == 'sum':
        return 2 * diff
    elif reduction == 'None':
        return 2 * diff
    else:
        raise ValueError("reduction must be 'mean' | 'sum' | 'none'")
"""

GRADIENTS_COMPARED = """
torch.manual_seed(0)
y = torch.randn(4, 3)
y_hat = torch.randn(4, 3, requires_grad=True)

# our loss
L = mse_loss(y_hat, y, reduction="mean")
print("Our loss:", L.item())

# torch loss
import torch.nn as nn
torch_loss = nn.MSELoss(reduction="mean")(y_hat, y)
print("Torch loss:", torch_loss.item())

# gradients: autograd
y_hat.grad = None
L.backward()
grad_autograd = y_hat.grad.detach().clone()

# gradients: manual
grad_manual = mse_grad(y_hat.detach(), y, reduction="mean")

print("Autograd grad (first row):", grad_autograd[0])
print("Manual grad (first row): ", grad_manual[0])
print("Max |diff|:", (grad_autograd - grad_manual).abs().max().item())
"""


def number(line: str) -> float:
    return float(line.split(":")[1])


def test_both_losses_are_what_the_notebook_prints(device):
    names, _ = blocks.run(LOSS)
    _, printed = blocks.run(COMPARED, names)
    ours, library = printed.splitlines()
    assert ours.startswith("Our mean loss: ") and library.startswith("Torch Mean loss: ")
    assert number(ours) == pytest.approx(2.255875825881958, rel=2e-7)  # a unit in the last place at most
    assert number(library) == pytest.approx(2.255875825881958, rel=2e-7)


def test_both_gradients_are_what_the_notebook_prints(device):
    names, _ = blocks.run(LOSS)
    names, _ = blocks.run(GRADIENT, names)
    _, printed = blocks.run(GRADIENTS_COMPARED, names)
    ours, library, automatic, manual, difference = printed.splitlines()
    assert number(ours) == pytest.approx(2.255875825881958, rel=2e-7)
    assert number(library) == pytest.approx(2.255875825881958, rel=2e-7)
    assert automatic == "Autograd grad (first row): tensor([-0.3996,  0.2323,  0.1846])"
    assert manual == "Manual grad (first row):  tensor([-0.3996,  0.2323,  0.1846])"
    assert number(difference) <= 3e-8


def test_an_unknown_reduction_is_refused():
    names, _ = blocks.run(LOSS)
    with pytest.raises(ValueError, match="reduction must be"):
        blocks.run("mse_loss(torch.ones(2), torch.ones(2), 'median')", names)
