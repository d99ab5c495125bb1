"""Latency: what the protocols time, folded norms, and what is told of the passes."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from engine.config.files import config_from_json
from engine.config.run_config import RunConfig
from engine.config.stored import told
from engine.config.task_sections import TimingConfig
from engine.learning import latency
from engine.learning.fold_norms import FoldError, foldable, with_folded_norms
from engine.learning.hardware import Hardware
from engine.learning.latency import measured, settings_of
from engine.metrics.latency import Machine, Setting, Timing, latency_result, time_passes
from engine.report.latency import latency_table, names_of_files
from engine.store import LatencyRow

SIZE = (16, 16)
CPU = Hardware(torch.device("cpu"), "A CPU", "fp32")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


class Net(nn.Module):
    """A norm that can be folded, one behind a transposed convolution, one behind such of several groups,
    one whose convolution is read twice, one that is used twice, and one behind no convolution."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4)
        self.up, self.up_norm = nn.ConvTranspose2d(4, 4, 2, 2), nn.BatchNorm2d(4)
        self.grouped, self.grouped_norm = nn.ConvTranspose2d(4, 4, 1, groups=2), nn.BatchNorm2d(4)
        self.shared, self.shared_norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.twice, self.twice_norm = nn.Conv2d(4, 4, 1), nn.BatchNorm2d(4)
        self.first_norm = nn.BatchNorm2d(3)
        self.passes = 0
        for norm in (part for part in self.modules() if isinstance(part, nn.BatchNorm2d)):
            nn.init.uniform_(norm.running_mean, -1, 1)
            nn.init.uniform_(norm.running_var, 0.5, 2)
            nn.init.uniform_(norm.weight, 0.5, 2)
            nn.init.uniform_(norm.bias, -1, 1)

    def forward(self, images: Tensor) -> Tensor:
        self.passes += 1
        x = self.norm(self.conv(self.first_norm(images))).relu()
        x = self.up_norm(self.up(x)).relu()
        y = self.shared(self.grouped_norm(self.grouped(x)))
        x = self.shared_norm(y).relu() + y
        for _ in range(2):
            x = self.twice_norm(self.twice(x))
        return x


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net().eval()


def test_only_a_norm_that_alone_reads_a_convolution_is_folded(net: Net) -> None:
    assert foldable(net, SIZE) == [("conv", "norm"), ("up", "up_norm")]
    folded = with_folded_norms(net, SIZE)
    images = torch.randn(1, 3, *SIZE)
    torch.testing.assert_close(folded(images), net(images), rtol=1e-5, atol=1e-5)
    left = [name for name, part in folded.named_modules() if isinstance(part, nn.BatchNorm2d)]
    assert left == ["grouped_norm", "shared_norm", "twice_norm", "first_norm"]
    assert isinstance(net.norm, nn.BatchNorm2d)


def test_the_activation_within_a_norm_of_timm_stays() -> None:
    from timm.layers import BatchNormAct2d

    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(3, 4, 3), BatchNormAct2d(4)).eval()
    nn.init.uniform_(net[1].running_mean, -1, 1)
    folded = with_folded_norms(net, SIZE)
    images = torch.randn(1, 3, *SIZE)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in folded.modules())
    torch.testing.assert_close(folded(images), net(images))
    assert folded(images).min() == 0


def test_a_fold_that_changes_the_logits_is_refused(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("engine.learning.fold_norms.foldable", lambda *arguments: [("shared", "shared_norm")])
    with pytest.raises(FoldError, match="changes the logits by"):
        with_folded_norms(net, SIZE)
    ((_, found),) = measured(net, [Setting(SIZE, "literature", "fp32")], CPU, 0.0, channels_last=False)
    assert str(found).startswith("folding its batch norms changes")


def test_norms_are_folded_at_the_smallest_size_and_in_whole_float32(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TF32 changes the logits by up to 0.7 % of the largest, more than a fold that is right may."""
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", True)
    seen: list[object] = []

    def folding(model: nn.Module, size: tuple[int, int]) -> nn.Module:
        seen.append((size, torch.backends.cudnn.allow_tf32))
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(latency, "with_folded_norms", folding)
    settings = [Setting(size, "literature", "fp16") for size in ((64, 64), (16, 32), (32, 32))]
    gpu = Hardware(torch.device("cuda"), "A GPU", "bf16")
    before = torch.get_float32_matmul_precision()
    found = [problem for _, problem in measured(net, settings, gpu, 0.0, channels_last=False)]
    torch.set_float32_matmul_precision(before)
    assert seen == [((16, 32), False)]
    assert found == ["out of memory"] * 3


def test_each_protocol_times_what_it_says(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """The engine's begins with pixels and ends with class ids; the literature's is the folded network alone,
    after ten passes that do not count."""
    seen: list[tuple[torch.dtype, int]] = []
    really = latency.normalise
    monkeypatch.setattr(latency, "normalise", lambda pixels: seen.append((pixels.dtype, 1)) or really(pixels))
    wanted = TimingConfig(sizes=(SIZE,), precisions=("fp32", "bf16"))
    settings = settings_of(wanted, (32, 32), CPU)
    assert settings == [
        Setting(SIZE, protocol, precision)
        for protocol in ("engine", "literature")
        for precision in ("fp32", "bf16")
    ]
    found = list(measured(net, settings, CPU, 0.0, channels_last=True))
    assert all(isinstance(timing, Timing) and len(timing.passes) == 5 for _, timing in found)
    assert seen == [(torch.uint8, 1)] * 2 * (10 + 5)
    assert net.passes == 2 * (10 + 5) + 1  # that to which the folded copy was compared


def test_a_network_that_does_not_compile_says_so_in_its_line(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    def compiled(*arguments: object) -> object:
        def fail(images: Tensor) -> Tensor:
            raise RuntimeError("no compiler\nand more lines")

        return fail

    monkeypatch.setattr(latency, "compiled", compiled)
    settings = settings_of(TimingConfig(protocols=("engine",), precisions=("fp32",), compile=True), SIZE, CPU)
    (plain, timing), (setting, problem) = measured(net, settings, CPU, 0.0, channels_last=False)
    assert (plain.compiled, setting.compiled) == (False, True)
    assert isinstance(timing, Timing)
    result = latency_result(setting, problem, Machine("cpu", "A CPU", 1))
    assert (result.problem, result.median_seconds) == ("torch.compile failed: no compiler", None)
    assert result.told == "16x16, engine, torch fp32, compiled: torch.compile failed: no compiler"


def test_frames_a_second_are_of_the_median_or_of_the_whole_time() -> None:
    passes = [0.01] * 97 + [0.02, 0.03, 0.5]
    timing = Timing(tuple(passes), 2.0)
    assert (timing.median, timing.percentile(0.95), timing.percentile(0.99)) == (0.01, 0.01, 0.03)
    machine = Machine("cpu", "A CPU", 1)
    engine, literature = (
        latency_result(Setting(SIZE, protocol, "fp32"), timing, machine)  # type: ignore[arg-type]
        for protocol in ("engine", "literature")
    )
    assert (engine.frames_per_second, literature.frames_per_second) == (100.0, 50.0)


def test_files_of_one_name_are_told_apart() -> None:
    timing = Timing((0.01,), 0.01)
    results = [
        latency_result(Setting(SIZE, "engine", "fp32"), timing, Machine("cpu", "A CPU", 1), file)
        for file in ("/nets/fp32/model.onnx", "/nets/int8/model.onnx", "/nets/small.onnx", "")
    ]
    rows = [
        LatencyRow(run_id="", source="", **one.model_dump(exclude={"attempt", "event"})) for one in results
    ]
    lines = latency_table(rows).plain.splitlines()[-4:]
    for line, name in zip(lines, ("(fp32/model.onnx)", "(int8/model.onnx)", "(small.onnx)", ""), strict=True):
        assert name in line
    assert (
        results[0].told == "16x16, engine, onnxruntime fp32, /nets/fp32/model.onnx: 10.0 ms, 100.0 frames/s"
    )
    deep = names_of_files(f"/runs/{run}/outputs/export-onnx/model.onnx" for run in ("a", "b"))
    assert list(deep.values()) == ["a/…/model.onnx", "b/…/model.onnx"]


def test_passes_end_by_time_or_number_and_a_slow_one_is_timed_often_enough() -> None:
    counted: list[int] = []
    assert len(time_passes(lambda: counted.append(1), warm=2, least=3, seconds=0.0).passes) == 3
    assert len(counted) == 5
    assert len(time_passes(lambda: None, warm=0, most=7, seconds=60.0).passes) == 7


def test_ways_through_the_network_that_latency_never_took_are_no_keys_of_it() -> None:
    section = {"source": "aaaaaaaa", "checkpoint": "best.pt", "sizes": [[32, 48]]}
    earlier = {"window": "none", "stride": "auto", "tta": "none", "label_resize": "bilinear-logits"}
    table = RunConfig().model_dump(mode="json") | {"task": "latency", "latency": section | earlier}
    for read in (RunConfig.of_stored(table), config_from_json(json.dumps(table).encode())):
        assert read.latency is not None
        assert read.latency.sizes == ((32, 48),)
        assert not earlier.keys() & read.latency.model_dump().keys()
    assert told(table)["latency"] == section
