"""A residual network of PyTorch: in, looked at, trained further, and out again.

    python examples/pytorch_residual.py

Needs PyTorch.  The blocks z <- z + fc2(tanh(fc1(z))) between an embedding and a head become a
control; images of digits come with scikit-learn.
"""

import copy
import tempfile
from pathlib import Path

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn

from continuum import Affine, CrossEntropy, LearningProblem, from_torch, to_torch_state
from continuum.io import load_control, save_control
from solvers import LBFGS, explain, minimize, ode_test


class Block(nn.Module):
    """z <- z + fc2(tanh(fc1(z)))."""

    def __init__(self, units: int, hidden: int) -> None:
        super().__init__()
        self.fc1, self.act, self.fc2 = nn.Linear(units, hidden), nn.Tanh(), nn.Linear(hidden, units)

    def forward(self, z: torch.Tensor) -> torch.Tensor:
        return z + self.fc2(self.act(self.fc1(z)))


class Net(nn.Module):
    """An embedding, `layers` blocks, a head."""

    def __init__(self, layers: int, units: int = 32, hidden: int = 32) -> None:
        super().__init__()
        self.embed = nn.Linear(64, units)
        self.blocks = nn.Sequential(*(Block(units, hidden) for _ in range(layers)))
        self.head = nn.Linear(units, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.blocks(self.embed(x)))


def trained(net: Net, images: torch.Tensor, digits: torch.Tensor, epochs: int = 4) -> Net:
    """The net, after Adam on batches of 100."""
    adam = torch.optim.Adam(net.parameters(), lr=2e-3)
    for _ in range(epochs):
        for rows in torch.randperm(len(images)).split(100):
            adam.zero_grad()
            nn.functional.cross_entropy(net(images[rows]), digits[rows]).backward()
            adam.step()
    return net


def accuracy(net: Net, images: torch.Tensor, digits: torch.Tensor) -> float:
    return (net(images).argmax(dim=1) == digits).double().mean().item()


def main() -> None:
    """Prints what the network is, and its accuracy before and after 20 iterations of L-BFGS."""
    torch.manual_seed(0)
    images, digits = load_digits(return_X_y=True)
    images, digits = torch.as_tensor(images / 16.0), torch.as_tensor(digits)
    train, test = slice(0, 1300), slice(1300, None)
    small, net = (trained(Net(n).double(), images[train], digits[train]) for n in (8, 16))

    found = from_torch(net, prefix="blocks.")  # compared with the module's own output
    print(f"the layers give the module's output up to {found.compared:.1g}")
    with torch.no_grad():
        states = net.embed(images).numpy().T  # (units, samples): what the blocks see
    print(ode_test(found.resnet, states, shallower=from_torch(small, prefix="blocks.").resnet))
    print(explain(found.network, found.control, states).summary())

    problem = LearningProblem(
        found.network,
        states[:, train],
        digits[train].numpy(),
        found.control.space,
        readout=Affine(10),
        terminal=CrossEntropy(),
    )
    head = {"readout.W": net.head.weight, "readout.mu": net.head.bias}
    start = problem.space.sample(
        **found.control, **{name: x.detach().numpy() for name, x in head.items()}
    )
    best = minimize(problem, LBFGS(max_iterations=20), initial=start, raise_on_failure=False)

    with tempfile.TemporaryDirectory() as folder:
        for name in ("net.npz", "net.h5"):
            back = load_control(save_control(Path(folder) / name, best.control), problem.space)
            assert all(np.array_equal(back[block], x) for block, x in best.control.items())

    state = to_torch_state(found.network, best.control, found.names)
    state |= {"head.weight": best.control["readout.W"], "head.bias": best.control["readout.mu"]}
    better = copy.deepcopy(net)
    better.load_state_dict(net.state_dict() | {n: torch.as_tensor(x) for n, x in state.items()})
    loss = nn.functional.cross_entropy(better(images[train]), digits[train]).item()
    print(f"loss {best.history['objective'][0]:.4f}, after L-BFGS {best.objective:.4f}")
    print(f"and of the module that takes these weights {loss:.4f}")
    before, after = (accuracy(one, images[test], digits[test]) for one in (net, better))
    print(f"accuracy {before:.3f} before, {after:.3f} after")


if __name__ == "__main__":
    main()
