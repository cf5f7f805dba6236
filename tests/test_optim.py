"""Several optimizers behind one."""

from __future__ import annotations

from copy import deepcopy

import torch
from torch.optim import SGD, Adam, Optimizer

from lit_ae.optim import ChainedOptimizer


def chain() -> tuple[ChainedOptimizer, list[torch.nn.Parameter]]:
    parameters = [torch.nn.Parameter(torch.full((2,), float(i))) for i in range(3)]
    return ChainedOptimizer(
        {"a": Adam(parameters[:1], lr=0.1), "b": SGD(parameters[1:], lr=0.2, momentum=0.9)}
    ), parameters


def step(optimizer: Optimizer, parameters: list[torch.nn.Parameter]) -> None:
    optimizer.zero_grad()
    torch.stack([((i + 1) * parameter**2).sum() for i, parameter in enumerate(parameters)]).sum().backward()
    optimizer.step()


def test_a_chain_steps_as_its_optimizers_would_alone() -> None:
    together, shared = chain()
    alone = [torch.nn.Parameter(parameter.detach().clone()) for parameter in shared]
    apart = [Adam(alone[:1], lr=0.1), SGD(alone[1:], lr=0.2, momentum=0.9)]
    for _ in range(3):
        step(together, shared)
        for optimizer in apart:
            step(optimizer, alone)
    for one, other in zip(shared, alone, strict=True):
        assert torch.equal(one, other)


def test_a_restored_chain_goes_on_as_it_would_have() -> None:
    first, parameters = chain()
    for _ in range(2):
        step(first, parameters)
    second, copies = chain()
    with torch.no_grad():
        for copy, parameter in zip(copies, parameters, strict=True):
            copy.copy_(parameter)
    second.load_state_dict(deepcopy(first.state_dict()))
    for group in second.param_groups:
        group["lr"] *= 0.5  # what a scheduler does reaches the optimizers
    for group in first.param_groups:
        group["lr"] *= 0.5
    step(first, parameters)
    step(second, copies)
    for one, other in zip(parameters, copies, strict=True):
        assert torch.equal(one, other)
