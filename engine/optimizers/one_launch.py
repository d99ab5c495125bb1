"""Torch's SGD, Adam and AdamW on a GPU, their step over all parameters one kernel, clipping included.

What they keep in their state, and hence in checkpoints, is torch's. Torch's own fused kernels take the first
step, which makes that state, and all steps with loss scaling (fp16).
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import Tensor, optim
from torch.nn.utils import clip_grad_norm_

from engine.models.layers import has_kernels

if TYPE_CHECKING:
    _Base = optim.Optimizer
else:
    _Base = object

TILE = 4096
"""Values that a program holds at a time."""
TILES = 4
"""Of an item of work."""
PARTS = 1024
"""Items whose sums a program adds up at a time."""
CLIPS = {None: 0, 1.0: 1, 2.0: 2, float("inf"): 3}
"""The number that the kernel knows a norm by."""


class Clip(NamedTuple):
    """The largest norm of all gradients together, and its order: 1, 2 or infinity."""

    limit: float
    order: float


class Row(NamedTuple):
    """A parameter, its gradient, up to two states and, of Adam, its number of steps; and its group."""

    tensors: list[Tensor]
    group: int


class OneLaunch(_Base):
    """The step; a class of torch follows it. `kind` is that class's name to the kernel, `states` what it
    keeps of each parameter."""

    kind: str
    states: tuple[str, ...]
    _clip: Clip | None = None
    _layouts: dict[tuple[int, ...], Layout]
    _known: list[list[int]] | None = None
    """The addresses of tensors that the kernel can take."""
    _refused = False

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self._layouts = {}

    def clip_next(self, limit: float, order: float) -> None:
        """Have the next step clip the gradient, as `clip_grad_norm_` would."""
        self._clip = Clip(limit, order)

    def step(self, closure: Any = None) -> Any:
        clip, self._clip = self._clip, None
        scaled = any(getattr(self, name, None) is not None for name in ("grad_scale", "found_inf"))
        rows = None if scaled or closure is not None else self._rows()
        addresses = [[each.data_ptr() for each in row.tensors] for row in rows or ()]
        if rows is None or (addresses != self._known and not self._serve(rows)):
            if clip is not None:
                clip_grad_norm_([each for group in self.param_groups for each in group["params"]], *clip)
            return super().step(closure)
        self._known = addresses
        with torch.no_grad():
            self._launch(rows, addresses, clip)
        return None

    def captured(self) -> None:
        """To be called once a graph of a step has been captured, before its first replay."""
        for layout in self._layouts.values():
            layout.fill()

    def _rows(self) -> list[Row] | None:
        """Every parameter that has a gradient; None where one has no state yet, or there is none."""
        rows = []
        for number, group in enumerate(self.param_groups):
            states = self.states_of(group)
            for parameter in group["params"]:
                if parameter.grad is None:
                    continue
                state = self.state.get(parameter, {})
                if any(state.get(name) is None for name in states):
                    return None
                rows.append(Row([parameter, parameter.grad, *(state[name] for name in states)], number))
        return rows or None

    def _serve(self, rows: list[Row]) -> bool:
        """Whether the kernel can take these tensors; a warning says once that it cannot."""
        device = rows[0].tensors[0].device
        if not has_kernels(device):
            return False  # which has been said
        ways = [self.way(group) for group in self.param_groups]
        able = ways.count(ways[0]) == len(ways) and all(
            each.dtype == torch.float32 and each.device == device and (each.ndim == 0 or _alike(each, row))
            for row in rows
            for each in row.tensors
        )
        if not able and not self._refused:
            warnings.warn(
                "the optimizer takes more kernels than one: its weights and their gradients are not all "
                "float32 and in the same order of memory",
                stacklevel=3,
            )
            self._refused = True
        return able

    def _launch(self, rows: list[Row], addresses: list[list[int]], clip: Clip | None) -> None:
        from engine.models.cooperative import launch_passes
        from engine.optimizers.step_kernel import step_kernel

        sizes, device = tuple(row.tensors[0].numel() for row in rows), rows[0].tensors[0].device
        layout = self._layouts.get(sizes)
        if layout is None:
            layout = self._layouts[sizes] = Layout(sizes, device, len(self.param_groups))
        rates = layout.rates([group["lr"] for group in self.param_groups])
        lines = [
            [*places, *[0] * (5 - len(places)), rates[row.group], size, row.group]
            for places, row, size in zip(addresses, rows, sizes, strict=True)
        ]
        table = layout.table(lines)
        groups = layout.constants([self.constants(group) for group in self.param_groups])
        sums = torch.empty(layout.count, dtype=torch.float64, device=device)
        limit, order = (0.0, None) if clip is None else clip
        shape = len(rows), layout.count, limit
        fixed = {"KIND": self.kind, "CLIP": CLIPS[order], **self.way(self.param_groups[0])}
        cut = {"SIZE": TILE, "TILES": TILES, "PARTS": PARTS}
        given = table, groups, layout.items, sums, *shape
        launch_passes(step_kernel, 3, device, *given, **fixed, **cut)

    def states_of(self, group: dict[str, Any]) -> tuple[str, ...]:
        """What is kept of the parameters of a group."""
        return self.states

    def constants(self, group: dict[str, Any]) -> tuple[float, float, float, float]:
        """Of a group: weight decay, beta1 or momentum, beta2, eps."""
        raise NotImplementedError

    def way(self, group: dict[str, Any]) -> dict[str, bool]:
        """What is compiled into the kernel, so that all groups must have the same."""
        return {"MOMENTUM": False, "NESTEROV": False}


class Layout:
    """What the kernel reads of where tensors of given sizes are, in their device's memory."""

    def __init__(self, sizes: tuple[int, ...], device: torch.device, groups: int) -> None:
        items = [[row, part] for row, size in enumerate(sizes) for part in range(-(-size // (TILE * TILES)))]
        self.count = len(items)
        self.items = _filled(torch.empty(self.count, 2, dtype=torch.int32, device=device), items)
        self._rates = torch.empty(groups, device=device)
        self._rates_known: list[float] = []
        self._constants = torch.empty(groups, 4, dtype=torch.float64, device=device)
        self._constants_known: list[tuple[float, ...]] = []
        self._table = torch.empty(len(sizes), 8, dtype=torch.int64, device=device)
        self._of_graph = torch.empty_like(self._table)
        self._lines: list[list[int]] = []
        self._lines_of_graph: list[list[int]] = []

    def rates(self, rates: list[float | Tensor]) -> list[int]:
        """The address of the learning rate of each group, float32."""
        tensors = [rate for rate in rates if isinstance(rate, Tensor)]
        if len(tensors) == len(rates) and all(each.device == self._rates.device for each in tensors):
            return [each.data_ptr() for each in tensors]
        numbers = [float(rate) for rate in rates]
        if numbers != self._rates_known:
            _filled(self._rates, numbers)
            self._rates_known = numbers
        return [each.data_ptr() for each in self._rates.unbind()]

    def constants(self, constants: list[tuple[float, ...]]) -> Tensor:
        if constants != self._constants_known:
            _filled(self._constants, constants)
            self._constants_known = constants
        return self._constants

    def table(self, lines: list[list[int]]) -> Tensor:
        """The table of `step_kernel`. One that a graph is to read is filled by `fill`: within the graph that
        would be one more node."""
        if lines == self._lines:
            return self._table
        if _is_capturing(self._table):
            self._lines_of_graph = lines
            return self._of_graph
        self._lines = lines
        return _filled(self._table, lines)

    def fill(self) -> None:
        if self._lines_of_graph:
            _filled(self._of_graph, self._lines_of_graph)
            self._lines_of_graph = []


def _filled(tensor: Tensor, values: Any) -> Tensor:
    """The tensor, given these values without a wait."""
    if _is_capturing(tensor):
        raise RuntimeError("a graph cannot hold the first steps of an optimizer")
    host = torch.tensor(values, dtype=tensor.dtype)
    return tensor.copy_(host.pin_memory() if tensor.is_cuda else host, non_blocking=True)


def _is_capturing(tensor: Tensor) -> bool:
    return tensor.is_cuda and torch.cuda.is_current_stream_capturing()


def _alike(tensor: Tensor, row: Row) -> bool:
    """Whether the values of a tensor are in memory as those of its parameter are, and without gaps."""
    parameter = row.tensors[0]
    nhwc = tensor.ndim == 4 and tensor.is_contiguous(memory_format=torch.channels_last)
    return (
        (nhwc or tensor.is_contiguous())
        and tensor.shape == parameter.shape
        and _order(tensor) == _order(parameter)
    )


def _order(tensor: Tensor) -> list[int]:
    """The strides of the dimensions that have more than one place."""
    return [step for step, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1]


class OneLaunchSGD(OneLaunch, optim.SGD):
    kind = "sgd"
    states = ("momentum_buffer",)

    def states_of(self, group: dict[str, Any]) -> tuple[str, ...]:
        return self.states if group["momentum"] else ()

    def constants(self, group: dict[str, Any]) -> tuple[float, float, float, float]:
        return group["weight_decay"], group["momentum"], 0.0, 0.0

    def way(self, group: dict[str, Any]) -> dict[str, bool]:
        return {"MOMENTUM": bool(group["momentum"]), "NESTEROV": group["nesterov"]}


class OneLaunchAdam(OneLaunch, optim.Adam):
    kind = "adam"
    states = ("exp_avg", "exp_avg_sq", "step")

    def constants(self, group: dict[str, Any]) -> tuple[float, float, float, float]:
        beta1, beta2 = group["betas"]
        return group["weight_decay"], beta1, beta2, group["eps"]


class OneLaunchAdamW(OneLaunchAdam, optim.AdamW):
    kind = "adamw"
