"""What CUDA's driver tells without torch: the GPUs that this process sees, in CUDA's own order.

Source: CUDA Driver API, "Device Management".
"""

from __future__ import annotations

import ctypes
from uuid import UUID


def cuda_devices() -> int:
    """How many CUDA devices the driver shows; 0 without a driver."""
    driver = _driver()
    count = ctypes.c_int(0)
    if driver is None or driver.cuDeviceGetCount(ctypes.byref(count)) != 0:
        return 0
    return count.value


def device_uuids() -> tuple[str, ...]:
    """The UUID of each visible device, by its CUDA index, as lower-case hexadecimal digits with hyphens.

    CUDA numbers what CUDA_VISIBLE_DEVICES lets through, by default the fastest first. NVML numbers all
    GPUs by their place on the bus. Both know the UUID, and a slice of a GPU (MIG) has its own.
    """
    driver = _driver()
    found = []
    for index in range(cuda_devices()):
        device, uuid = ctypes.c_int(0), (ctypes.c_ubyte * 16)()
        assert driver is not None
        if driver.cuDeviceGet(ctypes.byref(device), index) or driver.cuDeviceGetUuid_v2(uuid, device):
            return ()
        found.append(str(UUID(bytes=bytes(uuid))))
    return tuple(found)


def _driver() -> ctypes.CDLL | None:
    try:
        driver = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    return driver if driver.cuInit(0) == 0 else None
