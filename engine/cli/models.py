"""`seg-engine models`: architectures and encoders, their sizes, and the licences of their weights."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from engine.cli.console import notices, output, print_json
from engine.cli.usage import WrongUse
from engine.config.fields import parse_size
from engine.models.builtin import MODELS
from engine.models.sizes import CLASSES, SIZE, sizes
from engine.models.smp.encoders import Encoder, encoders
from engine.report.tables import Column, text_table
from engine.typed import typed

if TYPE_CHECKING:
    from engine.models import ModelSection
    from engine.workspace import Workspace

TABLE_ROWS = 40
"""Encoders in the table when no limit is named."""

MOST_COMPUTED = 20
"""Networks that are built to count their arithmetic at another size; more are scaled by area."""


@dataclass(frozen=True)
class Listed:
    """An architecture or an encoder as it is listed. `gflops` are those of a forward pass of one image of
    `size`; `exact`: counted, not scaled by area. `strides`, `dilates`, `weights` and `licences` are of
    encoders; `measured` is the fastest training here."""

    kind: str
    name: str
    params: int | None
    gflops: float | None
    size: tuple[int, int]
    exact: bool
    strides: tuple[int, ...] = ()
    dilates: tuple[int, ...] = ()
    only_dpt: bool = False
    weights: Mapping[str, str] | None = None
    measured: str = ""

    @property
    def licences(self) -> str:
        found = dict.fromkeys((self.weights or {}).values())
        return ", ".join(licence or "not stated" for licence in found)


def list_models(
    workspace: Workspace, words: Sequence[str], size_text: str, limit: int | None, as_json: bool
) -> None:
    """Print what has all the words in its name. Raises WrongUse for a size that is none."""
    size = _size(size_text)
    found = [each for each in _all(size) if all(word.lower() in each.name.lower() for word in words)]
    if size != SIZE:
        found = _counted(found, size)
    found = _with_speeds(found, workspace)
    if as_json:
        print_json([{**asdict(each), "licences": each.licences} for each in found])
        return
    shown = TABLE_ROWS if limit is None else limit or len(found)
    networks = [each for each in found if each.kind == "architecture"]
    parts = [each for each in found if each.kind == "encoder"]
    if not found:
        notices.say(f"nothing matches; `{typed('models')}` lists all")
    if networks:
        output.say(_architectures(networks))
    if networks and parts:
        output.say()
    if parts:
        output.say(_encoders(parts[:shown]))
    if len(parts) > shown:
        notices.say(f"{shown} of {len(parts)} encoders are shown; words narrow the list, --limit 0 shows all")


def _size(text: str) -> tuple[int, int]:
    if not text:
        return SIZE
    try:
        height, width = parse_size(text)
    except (TypeError, ValueError):
        raise WrongUse(f"--size: {text!r} is not HEIGHTxWIDTH, such as 256x512") from None
    if not (16 <= height <= 8192 and 16 <= width <= 8192):
        raise WrongUse(f"--size: {text} is not allowed; each side is 16 to 8192")
    return height, width


def _all(size: tuple[int, int]) -> Iterable[Listed]:
    """Everything, its arithmetic by area from the lists."""
    by_area = size[0] * size[1] / (SIZE[0] * SIZE[1])
    for name in _sections():
        known = sizes().get(name)
        yield Listed(
            "architecture",
            name,
            known.params if known else None,
            _rounded(known.gflops * by_area) if known else None,
            size,
            exact=size == SIZE,
        )
    for encoder in encoders().values():
        yield _of_encoder(encoder, size, by_area)


def _of_encoder(encoder: Encoder, size: tuple[int, int], by_area: float) -> Listed:
    return Listed(
        "encoder",
        encoder.name,
        encoder.params,
        _rounded(encoder.gflops * by_area),
        size,
        exact=size == SIZE,
        strides=encoder.strides,
        dilates=encoder.dilates,
        only_dpt=encoder.only_dpt,
        weights=encoder.weights,
    )


def _sections() -> dict[str, ModelSection]:
    """Every architecture by the name under which it is listed."""
    return {
        name: section
        for kind in MODELS.sections().values()
        for name, section in kind(name=kind.model_fields["name"].default).listed()
    }


def _counted(found: list[Listed], size: tuple[int, int]) -> list[Listed]:
    """The architectures among them with their arithmetic at a size counted, where there are few and they take
    it."""
    networks = [each for each in found if each.kind == "architecture"]
    if not 0 < len(networks) <= MOST_COMPUTED:
        return found
    from engine.models.make_sizes import measured

    sections = _sections()
    exact: dict[str, Listed] = {}
    for each in networks:
        section = sections[each.name]
        stride = section.input_stride()
        if section.missing() or any(side % stride or side < section.least_side() for side in size):
            continue
        params, gflops = measured(section, size)
        exact[each.name] = Listed("architecture", each.name, params, gflops, size, exact=True)
    return [exact.get(each.name, each) if each.kind == "architecture" else each for each in found]


def _with_speeds(found: list[Listed], workspace: Workspace) -> list[Listed]:
    """With the fastest training of each in this workspace, where its database is here."""
    speeds = measured_speeds(workspace)
    return [replace(each, measured=speeds.get((each.kind, each.name), "")) for each in found]


def measured_speeds(workspace: Workspace) -> dict[tuple[str, str], str]:
    """How fast architectures and encoders have trained in a workspace, as a phrase: images a second, at which
    size, on what. A workspace without a database has none; looking makes none."""
    from engine.cli.reading import has_database, open_existing

    if not has_database(workspace):
        return {}
    best: dict[tuple[str, str], tuple[float, str]] = {}
    with open_existing(workspace) as store:
        rows = store.runs([], "-created", None, None, None)
    for row in rows:
        rate = row.images_per_second
        model = row.stored_config.get("model") or {}
        if not rate or row.task != "train":
            continue
        size = "x".join(str(side) for side in (row.stored_config.get("data") or {}).get("size", ("?", "?")))
        told = f"{rate:.3g} img/s at {size} on {row.device_name or row.device}"
        for key in _keys_of(model):
            if rate > best.get(key, (0.0, ""))[0]:
                best[key] = rate, told
    return {key: told for key, (_, told) in best.items()}


def _keys_of(model: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    """Under which names a run's network is listed."""
    name = str(model.get("name", MODELS.default))
    detail = model.get("decoder") or model.get("architecture") or ""
    if name == "smp":
        detail = detail or "Unet"
        yield "encoder", str(model.get("encoder", "resnet34"))
    elif name == "torchvision":
        detail = detail or "deeplabv3_resnet50"
    yield "architecture", f"{name} {detail}".strip()


def _rounded(gflops: float) -> float:
    return float(f"{gflops:.4g}")


def _architectures(found: Sequence[Listed]) -> Any:
    return text_table(
        [
            Column("architecture", [(each.name, "bold") for each in found]),
            *_sizes(found, f"parameters ({CLASSES} classes)"),
            Column("measured here", [each.measured or "-" for each in found], least=20, rank=1),
        ],
        output.table_width,
    )


def _encoders(found: Sequence[Listed]) -> Any:
    return text_table(
        [
            Column("encoder", [(each.name, "bold") for each in found]),
            *_sizes(found, "parameters"),
            Column("strides", [_strides(each) for each in found], rank=2),
            Column("dilates to", [" ".join(map(str, each.dilates)) or "-" for each in found], rank=2),
            Column("weights", [_weights(each) for each in found], least=10, rank=1),
            Column("their licence", [each.licences or "-" for each in found], least=13),
            Column("measured here", [each.measured or "-" for each in found], least=13, rank=3),
        ],
        output.table_width,
    )


def _sizes(found: Sequence[Listed], title: str) -> list[Column]:
    size = "x".join(map(str, found[0].size))
    about = ["-" if each.gflops is None else f"{'' if each.exact else '~'}{each.gflops:g}" for each in found]
    counted = ["-" if each.params is None else f"{each.params:,}" for each in found]
    return [Column(title, counted, right=True), Column(f"GFLOPs at {size}", about, right=True)]


def _strides(each: Listed) -> str:
    return "any (DPT)" if each.only_dpt else f"{each.strides[0]}-{each.strides[-1]}"


def _weights(each: Listed) -> str:
    names = list(each.weights or {})
    return f"{', '.join(names[:2])}{f' and {len(names) - 2} more' if len(names) > 2 else ''}" or "-"
