"""A batched inference server, instrumented with the public SDK, and its load generator."""

from __future__ import annotations

from ninesight_server.config import ServerSettings
from ninesight_server.contract import Backend, Golden, ModelSpec, Tensors, TensorSpec

__all__ = ["Backend", "Golden", "ModelSpec", "ServerSettings", "TensorSpec", "Tensors"]
