"""Where the time of a training step goes, and how near each convolution alone comes to a matrix product.

    python benchmarks/step_profile.py [--recipe paper-unet] [--device cpu] [--classes 19] [--steps 8]
        [KEY=VALUE]

Two tables. The first is of the fastest of some whole steps: time by kind of work, and FLOP/s of the
convolutions forward and backward. On the CPU its operators are timed one by one: the events that torch's own
profiler keeps cut up the heap, so that a step under it waits for pages that a run already has. The second has
each different convolution of the network by itself: forward, gradient of its input, gradient of its weights.
The matrix product that they are held against is measured between them, since a machine with neighbours may
be three times as fast in one second as in the next; the fastest of all is taken.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks.ending import told_in_lines
from engine.config.described import format_value
from engine.config.keys import parse_assignments, with_values
from engine.config.recipes import get_recipe
from engine.config.run_config import RunConfig
from engine.config.sections import RuntimeConfig
from engine.worker.process import prepare_process

prepare_process(RuntimeConfig())  # before torch takes its first memory, as the worker does

import torch  # noqa: E402
from torch import nn  # noqa: E402
from torch.profiler import ProfilerActivity, profile  # noqa: E402
from torch.utils._python_dispatch import TorchDispatchMode  # noqa: E402

from engine.learning.ceiling import matrix_ceiling  # noqa: E402
from engine.learning.flops import flops_per_sample  # noqa: E402
from engine.learning.hardware import Hardware, choose_hardware, settle_arithmetic  # noqa: E402
from engine.models.registry import CHANNELS, build_model  # noqa: E402
from engine.training.probes.steps import random_batch, state_for_steps  # noqa: E402
from engine.training.step import training_step  # noqa: E402

CLASSES = 19
KINDS = (
    ("convolutions backward", ("convolution_backward", "wgrad", "dgrad")),
    ("convolutions forward", ("conv", "gemm", "cutlass", "xmma", "mm", "sm90")),
    ("batch norm", ("batch_norm", "bn_", "batchnorm")),
    ("optimizer", ("sgd", "adam", "multi_tensor")),
    ("loss", ("softmax", "nll", "cross_entropy")),
    ("activations", ("relu", "clamp", "threshold", "silu")),
    ("copies and layout", ("memcpy", "memset", "copy", "nchw", "nhwc", "cat", "fill")),
    (
        "pointwise and pooling",
        ("elementwise", "vectorized", "add", "mul", "max_pool", "triton", "reduce", "sum"),
    ),
)
ROUNDS = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--recipe", default="paper-unet")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--classes", type=int, default=CLASSES)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("changes", nargs="*", metavar="KEY=VALUE")
    options = parser.parse_args()
    config = with_values(get_recipe(options.recipe), parse_assignments(options.changes))
    config = with_values(config, {"device": options.device})
    hardware = choose_hardware(config)
    settle_arithmetic(config, hardware)
    print(
        f"{options.recipe} at {format_value(config.data.size)}, batch {config.batch_size}, {hardware.name}, "
        f"{hardware.precision}, {torch.get_num_threads()} threads, torch {torch.__version__}"
    )
    ceilings = [matrix_ceiling(hardware)]
    print_step(config, hardware, options.steps, ceilings, options.classes)
    print_convolutions(config, hardware, ceilings, options.classes)


def print_step(
    config: RunConfig, hardware: Hardware, steps: int, ceilings: list[float], classes: int = CLASSES
) -> None:
    """The fastest of `steps` whole steps by kind of work; what each took is printed, too."""
    on_cuda = hardware.device.type == "cuda"
    config = with_values(config, {"runtime.compile": "off"})
    images = (2 + steps) * config.batch_size
    state = state_for_steps(config, hardware, classes, images)
    batch = random_batch(config, hardware, classes, config.batch_size)

    def step() -> None:
        training_step(state, batch, config.batch_size)

    for _ in range(2):
        step()
    taken = []
    for _ in range(steps):
        ceilings.append(matrix_ceiling(hardware))
        taken.append(profiled(step, hardware))
    fastest, seconds_of = min(taken, key=lambda entry: entry[0])
    spent: defaultdict[str, float] = defaultdict(float)
    for name, seconds in seconds_of.items():
        kind = next(
            (kind for kind, words in KINDS if any(word in name.lower() for word in words)), "all else"
        )
        if on_cuda and kind.startswith("convolutions"):
            kind = "convolutions"  # not every kernel's name says which way it goes
        spent[kind] += seconds
    forward = flops_per_sample(config, classes) * config.batch_size
    arithmetic = {
        "convolutions forward": forward,
        "convolutions backward": 2 * forward,
        "convolutions": 3 * forward,
    }
    print(f"\nsteps of {', '.join(f'{seconds:.2f}' for seconds, _ in taken)} s; the fastest:\n")
    print(f"{'':<24}{'ms':>8}{'share':>9}{'GFLOP/s':>9}")
    total = sum(spent.values())
    for kind, seconds in sorted(spent.items(), key=lambda entry: -entry[1]):
        rate = f"{arithmetic[kind] / seconds / 1e9:9.0f}" if kind in arithmetic else ""
        print(f"{kind:<24}{1e3 * seconds:8.1f}{100 * seconds / total:8.1f} %{rate}".rstrip())
    print(f"{'whole step':<24}{1e3 * fastest:8.1f}{'':>10}{3 * forward / fastest / 1e9:9.0f}")
    print(f"\n{config.batch_size / fastest:.2f} images/s; matrix product {spread(ceilings)}")


def profiled(step: Callable[[], None], hardware: Hardware) -> tuple[float, dict[str, float]]:
    """Seconds of a step, and of each operator (CPU) or kernel (CUDA) in it, by name."""
    if hardware.device.type == "cpu":
        with OperatorTimes() as times:
            whole = timed(step, hardware)
        return whole, times.seconds
    with profile(activities=[ProfilerActivity.CUDA]) as profiler:
        whole = timed(step, hardware)
    return whole, {event.key: event.self_device_time_total / 1e6 for event in profiler.key_averages()}


class OperatorTimes(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Seconds and calls of each operator that runs within, by name. With the `clock` of a thread, and one
    thread at work, other programs on the machine hardly count."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self.calls: Counter[str] = Counter()
        self._clock = clock

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        begun = self._clock()
        answer = func(*args, **(kwargs or {}))
        self.seconds[str(func)] += self._clock() - begun
        self.calls[str(func)] += 1
        return answer


@dataclass(frozen=True)
class Layer:
    """A convolution and the shape of what it is given, [B, C, H, W]."""

    transposed: bool
    inputs: int
    outputs: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    padding: tuple[int, ...]
    shape: tuple[int, ...]

    def __str__(self) -> str:
        kind = " up" if self.transposed else ""
        kernel, size = "x".join(map(str, self.kernel)), "x".join(map(str, self.shape[2:]))
        return f"{self.inputs} -> {self.outputs}, {kernel}{kind} at {size}"


def convolutions_of(config: RunConfig, classes: int) -> Counter[Layer]:
    """The different convolutions of the network, in order, with how often each occurs."""
    found: Counter[Layer] = Counter()

    def seen(module: Any, arguments: tuple[Any, ...]) -> None:
        found[
            Layer(
                isinstance(module, nn.ConvTranspose2d),
                module.in_channels,
                module.out_channels,
                module.kernel_size,
                tuple(module.stride),
                tuple(module.padding),
                tuple(arguments[0].shape),
            )
        ] += 1

    with torch.device("meta"):
        model = build_model(config.model, classes)
        for module in model.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                module.register_forward_pre_hook(seen)
        model(torch.empty(config.batch_size, CHANNELS, *config.data.size))
    return found


def print_convolutions(config: RunConfig, hardware: Hardware, ceilings: list[float], classes: int) -> None:
    """GFLOP/s of each convolution alone, the fastest of some rounds."""
    layers = convolutions_of(config, classes)
    width = max(len(str(layer)) for layer in layers)
    head = f"{'times':>7}{'GFLOP':>9}{'forward':>9}{'of input':>10}{'of weights':>12}"
    print(f"\n{'GFLOP/s alone':<{width}}{head}")
    seconds_of = [0.0, 0.0, 0.0]
    arithmetic = 0.0
    for layer, times in layers.items():
        flops, passes = layer_passes(layer, config, hardware)
        best = [float("inf")] * 3
        for _ in range(ROUNDS):
            ceilings.append(matrix_ceiling(hardware))
            best = [min(old, timed(run, hardware)) for old, run in zip(best, passes, strict=True)]
        rates = [flops / seconds / 1e9 for seconds in best]
        print(
            f"{layer!s:<{width}}{times:7}{times * flops / 1e9:9.1f}"
            f"{rates[0]:9.0f}{rates[1]:10.0f}{rates[2]:12.0f}",
            flush=True,
        )
        arithmetic += times * flops
        seconds_of = [old + times * seconds for old, seconds in zip(seconds_of, best, strict=True)]
    rates = [arithmetic / seconds / 1e9 for seconds in seconds_of]
    print(f"{'all':<{width}}{'':>7}{arithmetic / 1e9:9.1f}{rates[0]:9.0f}{rates[1]:10.0f}{rates[2]:12.0f}")
    whole = sum(seconds_of)
    print(
        f"\nconvolutions alone, all at their fastest: {whole:.2f} s a step, "
        f"{config.batch_size / whole:.2f} images/s; matrix product {spread(ceilings)}"
    )


def layer_passes(
    layer: Layer, config: RunConfig, hardware: Hardware
) -> tuple[float, list[Callable[[], object]]]:
    """FLOPs of one pass, and the three passes: forward, gradient of the input, gradient of the weights."""
    order = torch.channels_last if config.runtime.channels_last else torch.contiguous_format
    channels = (layer.inputs, layer.outputs) if layer.transposed else (layer.outputs, layer.inputs)

    def draw(*shape: int) -> torch.Tensor:
        tensor = torch.randn(*shape, device=hardware.device).to(hardware.dtype)
        return tensor.contiguous(memory_format=order)

    images, weights = draw(*layer.shape), draw(*channels, *layer.kernel)
    rest = (layer.stride, layer.padding, (1, 1), layer.transposed, (0, 0), 1)
    answers = torch.ops.aten.convolution(images, weights, None, *rest)
    gradient = torch.randn_like(answers)
    pixels = images if layer.transposed else answers
    flops = 2.0 * weights.numel() * pixels.shape[0] * pixels.shape[2] * pixels.shape[3]

    def backward(*wanted: bool) -> Callable[[], object]:
        return lambda: torch.ops.aten.convolution_backward(gradient, images, weights, None, *rest, wanted)

    return flops, [
        lambda: torch.ops.aten.convolution(images, weights, None, *rest),
        backward(True, False, False),
        backward(False, True, False),
    ]


def timed(work: Callable[[], object], hardware: Hardware) -> float:
    """Seconds of a piece of work, with what it leaves to the device."""
    begun = time.perf_counter()
    work()
    if hardware.device.type == "cuda":
        torch.cuda.synchronize(hardware.device)
    return time.perf_counter() - begun


def spread(ceilings: list[float]) -> str:
    """The matrix product's own lowest, median and highest, as it was measured in between."""
    low, *_, high = ordered = sorted(rate / 1e9 for rate in ceilings)
    return f"{low:.0f} to {high:.0f} GFLOP/s, median {ordered[len(ordered) // 2]:.0f} of {len(ordered)}"


if __name__ == "__main__":
    sys.exit(told_in_lines(main))
