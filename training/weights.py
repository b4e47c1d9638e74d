"""Which of a network's weights are trained: all, some by name, or low-rank additions to some."""

import copy
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from torch import nn
from torch.optim.swa_utils import AveragedModel
from transformers.pytorch_utils import Conv1D

from training.config import ConfigError, Fit, Lora


def prepared(network: nn.Module, fit: Fit) -> nn.Module:
    """The network with `requires_grad` set as `fit` asks, and with LoRA's additions if it does.

    Raises ConfigError where a pattern matches nothing.
    """
    patterns = fit.trainable
    if patterns is None:
        patterns = () if fit.lora else ("*",)
    network.requires_grad_(False)
    if fit.lora:
        network = _with_lora(network, fit.lora)
    for name in _matching([name for name, _ in network.named_parameters()], patterns):
        network.get_parameter(name).requires_grad_(True)
    return network


def _with_lora(network: nn.Module, lora: Lora) -> nn.Module:
    # GPT-2's linear layers are of a class of their own.
    kinds = (nn.Linear, Conv1D)
    linear = [name for name, module in network.named_modules() if isinstance(module, kinds)]
    if not linear:
        raise ConfigError("fit.lora: the network has no linear layer")
    return get_peft_model(
        network,
        LoraConfig(
            r=lora.rank,
            lora_alpha=lora.alpha,
            lora_dropout=lora.dropout,
            target_modules=list(_matching(linear, lora.targets)),
        ),
    )


def _matching(names: Sequence[str], patterns: Sequence[str]) -> Iterator[str]:
    for pattern in patterns:
        # LoRA puts the network into a wrapper, and each adapted layer into another.
        plain = {name: name.removeprefix("base_model.model.") for name in names}
        found = [name for name in names if fnmatchcase(plain[name], pattern)]
        if not found:
            raise ConfigError(f"fit: {pattern!r} matches no weight, such as {next(iter(names))!r}")
        yield from found


def train_mode(module: nn.Module) -> None:
    """Training mode, but for layers that are frozen: their norms keep their statistics."""
    module.train()
    for part in module.modules():
        own = list(part.parameters(recurse=False))
        if own and not any(weight.requires_grad for weight in own):
            part.training = False  # Not `eval`: the layers below it may be trained.


def serving_weights(network: nn.Module) -> dict[str, torch.Tensor]:
    """The network's weights under the names that serving knows, LoRA's additions merged in."""
    if isinstance(network, PeftModel):
        network = copy.deepcopy(network).merge_and_unload()
    return network.state_dict()


def averaged(module: nn.Module, decay: float) -> AveragedModel:
    """A moving average of a module's weights and buffers, which begins by following closely."""

    def mean(average: torch.Tensor, now: torch.Tensor, updates: torch.Tensor | int) -> torch.Tensor:
        weight = 1 - min(decay, (1 + int(updates)) / (10 + int(updates)))
        return average.lerp(now, weight) if average.is_floating_point() else now

    return AveragedModel(module, avg_fn=mean, use_buffers=True)
