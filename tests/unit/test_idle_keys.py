"""Keys that have no effect, as another one switches off what they are of."""

from __future__ import annotations

import pytest

from engine.config.described import config_keys
from engine.config.idle import IdleKey, idle_keys
from engine.config.keys import with_values
from engine.config.run_config import RunConfig
from engine.requests.configs import changed_config


@pytest.mark.parametrize(
    ("typed", "switch", "told"),
    [
        ("loss.ohem_threshold=0.6", "loss.ohem=1", "loss.ohem is 0"),
        ("augment.cutout_size=0.5", "augment.cutout=0.5", "augment.cutout is 0"),
        ("ema.use=raw", "ema.decay=0.9", "ema.decay is 0"),
        ("distill.temperature=4", "distill.from=aaaa0000", "distill.from is empty"),
        ("optimizer.clip_type=inf", "optimizer.clip_norm=5", "optimizer.clip_norm is 0"),
        ("early_stop.metric=miou", "early_stop.patience=3", "early_stop.patience is 0"),
        ("gallery.images=4", "", ""),
    ],
)
def test_a_key_without_an_effect_is_told(typed: str, switch: str, told: str) -> None:
    base = with_values(RunConfig(), {"data.root": "/data"})
    key = typed.partition("=")[0]
    config = with_values(base, dict([typed.split("=")]))
    assert idle_keys(config, [key, "epochs"]) == ([f"{typed} has no effect where {told}"] if told else [])
    if switch:
        assert idle_keys(with_values(config, dict([switch.split("=")])), [key]) == []


def test_who_types_one_is_warned() -> None:
    with pytest.warns(IdleKey, match=r"^ema.warmup=false has no effect where ema.decay is 0$"):
        changed_config(RunConfig(), ["ema.warmup=false", "data.root=/data"], None)


def test_each_key_is_of_one_that_there_is() -> None:
    keys = config_keys()
    owners = {about.part_of for about in keys.values() if about.part_of}
    assert {"loss.ohem", "ema.decay", "augment.mixstyle"} <= owners <= set(keys)
