"""Which runs may take their steps as a CUDA graph, and which may compile their network."""

from __future__ import annotations

from engine.components.origin import BUILT_IN
from engine.config.run_config import RunConfig
from engine.learning.distributed import Group
from engine.learning.hardware import Hardware
from engine.losses.builtin import LOSSES
from engine.models.builtin import MODELS
from engine.optimizers.builtin import OPTIMIZERS
from engine.tasks import TASKS
from engine.training.distillation import Teacher


def graph_refusal(
    config: RunConfig,
    hardware: Hardware,
    group: Group,
    teacher: Teacher | None = None,
    own_loss: bool = False,
) -> str:
    """Why the step of a run is not captured as a CUDA graph; empty where it may be. `own_loss` is whether the
    network brings a loss of its own, which may ask the host in each step."""
    if hardware.device.type != "cuda":
        return "it needs CUDA"
    if group.count > 1:
        return "several devices share each batch"
    if config.runtime.graph == "auto" and config.runtime.deterministic:
        return "runtime.deterministic=true leaves nothing to measurements; runtime.graph=on uses it"
    if own_loss:
        return f"{config.model.own_loss_key()} has a loss that asks the host in each step"
    outside = components_from_outside(config)
    if teacher is not None and not teacher.built_in:
        outside.append("the network of distill.from")
    if config.runtime.graph == "auto" and outside:
        # What they do on the host a replay would leave out, and nobody would notice.
        return f"{', '.join(outside)} may need the host in each step; runtime.graph=on uses it"
    if config.optimizer.asks_host_in_fp16 and hardware.precision == "fp16":
        return f"optimizer.name={config.optimizer.name} asks the host whether gradients of fp16 are finite"
    if config.runtime.recompute and outside:
        return f"runtime.recompute saves the random state of {', '.join(outside)} on the host"
    return ""


def compile_mode(config: RunConfig) -> str:
    """`runtime.compile` as it is used. What measurements decide does not repeat to the same bits."""
    measured = config.runtime.compile == "auto"
    return "off" if measured and config.runtime.deterministic else config.runtime.compile


def compile_refusal(config: RunConfig, group: Group) -> str:
    """Why the network of a run is not compiled; empty where it may be."""
    meeting = config.ranks_meet_in() if group.count > 1 else ""
    return f"with {meeting}, several devices exchange numbers within the network" if meeting else ""


def keeps_learning_rate_on_device(config: RunConfig, hardware: Hardware) -> bool:
    """Whether the optimizer reads its learning rate from the device's memory, as a graph needs it. Also where
    there is no graph, so that using one changes no result."""
    own = OPTIMIZERS.is_built_in(config.optimizer.name)
    return hardware.device.type == "cuda" and (own or config.runtime.graph == "on")


def components_from_outside(config: RunConfig) -> list[str]:
    """The components of a run's step that seg-engine has not brought itself, as `key=name`."""
    losses = LOSSES.parts()
    return [
        *([] if TASKS.is_built_in(config.task) else [f"task={config.task}"]),
        *([] if MODELS.is_built_in(config.model.name) else [f"model.name={config.model.name}"]),
        *(
            []
            if OPTIMIZERS.is_built_in(config.optimizer.name)
            else [f"optimizer.name={config.optimizer.name}"]
        ),
        *(f"loss.{name}" for name in config.loss.weights() if losses[name].origin != BUILT_IN),
    ]
