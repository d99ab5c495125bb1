"""The section of the fully connected CRF, and its parameters."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import model_validator

from engine.config.fields import Section, option


class CrfParameters(Section):
    """What decides a CRF: the weight and the standard deviations of its two Gaussian kernels.

    The defaults suit street scenes. Those of DeepLab for Pascal VOC (bilateral 4, 49, 5; Gaussian 3, 3)
    smooth thin classes such as poles away."""

    iterations: int = option(10, "Iterations of mean field", ge=1, le=1000)
    gaussian_weight: float = option(1.0, "Weight of the kernel over positions", ge=0, le=1000)
    gaussian_sigma: float = option(1.0, "Standard deviation of that kernel", unit="pixels", ge=0.5, le=10_000)
    bilateral_weight: float = option(2.0, "Weight of the kernel over positions and colours", ge=0, le=1000)
    bilateral_sigma_xy: float = option(
        24.0, "Standard deviation of that kernel over positions", unit="pixels", ge=0.5, le=10_000
    )
    bilateral_sigma_rgb: float = option(
        5.0, "Standard deviation of that kernel over colours, of 0 to 255", ge=0.5, le=1000
    )


class CrfConfig(CrfParameters):
    """Refine predictions by a fully connected CRF (Krähenbühl and Koltun 2011).

    For the tasks evaluate, predict and robustness, at the size at which they are scored or written.
    """

    mode: Literal["off", "on", "searched"] = option(
        "off",
        "on: with the parameters of these keys; searched: with those that `seg-engine crf-search` found for "
        "the checkpoint, or the defaults where it found none",
    )

    @property
    def parameters(self) -> CrfParameters:
        """Those of the keys."""
        return CrfParameters.model_validate(self.model_dump(exclude={"mode"}))

    @model_validator(mode="after")
    def _keys_have_an_effect(self) -> Self:
        if self.mode == "on":
            return self
        for name, info in CrfParameters.model_fields.items():
            if getattr(self, name) != info.default:
                raise ValueError(f"crf.{name}: has no effect with crf.mode={self.mode}; it needs crf.mode=on")
        return self
