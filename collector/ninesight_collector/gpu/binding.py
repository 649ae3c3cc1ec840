"""The real `nvidia-ml-py` binding, called with buffers that live as long as the device.

pynvml's own wrappers make new buffers at every call; at 1 Hz for 8 GPUs that is most of an
agent's time. What each call returns is an NVML code: NOT_SUPPORTED and its like mean that a
figure is left out, GPU_IS_LOST and its like that the device is.
"""

from __future__ import annotations

import ctypes
from typing import Any

import pynvml

from ninesight_collector.errors import GpuUnavailableError

__all__ = [
    "DeviceLostError",
    "call",
    "device_count",
    "driver_close",
    "driver_open",
    "driver_version",
    "error_text",
    "succeeded",
]

_LOST = frozenset(
    {
        pynvml.NVML_ERROR_GPU_IS_LOST,
        pynvml.NVML_ERROR_RESET_REQUIRED,
        pynvml.NVML_ERROR_UNINITIALIZED,
        pynvml.NVML_ERROR_DRIVER_NOT_LOADED,
        pynvml.NVML_ERROR_GPU_NOT_FOUND,
    }
)
_SUCCESS: int = pynvml.NVML_SUCCESS
_NO_FUNCTION: int = pynvml.NVML_ERROR_FUNCTION_NOT_FOUND


class DeviceLostError(Exception):
    """The device does not answer any more; the message is NVML's."""


def call(name: str, *arguments: object) -> int:
    """Call an NVML function by its name in the library; return its code. Raises DeviceLostError."""
    try:
        function: Any = pynvml._nvmlGetFunctionPointer(name)
    except pynvml.NVMLError as error:
        code: int = error.value
        if code != _NO_FUNCTION:
            raise DeviceLostError(str(error)) from error
        return code
    code = function(*arguments)
    if code in _LOST:
        raise DeviceLostError(error_text(code))
    return code


def succeeded(name: str, *arguments: object) -> bool:
    """Call an NVML function; True if it filled its buffers. Raises DeviceLostError."""
    return call(name, *arguments) == _SUCCESS


def error_text(code: int) -> str:
    """Return NVML's words for a code."""
    return str(pynvml.NVMLError(code))


def driver_open() -> None:
    """Load the driver's library and begin. Raises GpuUnavailableError that says what was missing."""
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        if error.value == pynvml.NVML_ERROR_LIBRARY_NOT_FOUND:
            raise GpuUnavailableError(
                "no NVIDIA driver here: libnvidia-ml.so.1 was not found; "
                'install the driver, or set gpu.mode to "simulated" or "off"'
            ) from error
        raise GpuUnavailableError(f"the NVIDIA driver does not answer: {error}") from error


def driver_close() -> None:
    """End what `driver_open` began; a driver that is gone already is no error."""
    try:
        pynvml.nvmlShutdown()
    except pynvml.NVMLError:
        return


def driver_version() -> str:
    """Return the driver's version; "" if it does not tell."""
    buffer = ctypes.create_string_buffer(pynvml.NVML_SYSTEM_DRIVER_VERSION_BUFFER_SIZE)
    if not succeeded("nvmlSystemGetDriverVersion", buffer, ctypes.c_uint(len(buffer))):
        return ""
    return buffer.value.decode("utf-8", "replace")


def device_count() -> int:
    """Return how many devices the driver has."""
    count = ctypes.c_uint()
    return count.value if succeeded("nvmlDeviceGetCount_v2", ctypes.byref(count)) else 0
