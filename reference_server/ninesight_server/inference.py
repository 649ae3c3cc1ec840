"""One inference request from bytes to bytes, instrumented through the public SDK only."""

from __future__ import annotations

from typing import Any

import ninesight
import orjson

from ninesight_server.errors import InvalidInputError, ServerError
from ninesight_server.slot import ModelSlot
from ninesight_server.tensors import decode_inputs, encode_outputs

__all__ = ["infer", "parse_json"]


def parse_json(body: bytes) -> Any:
    """Read a JSON body. Raises InvalidInputError."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as error:
        raise InvalidInputError(f"the body must be JSON: {error}") from None


async def infer(slot: ModelSlot, body: bytes) -> tuple[bytes, float]:
    """Return the response body and the duration in seconds exactly as it was recorded.

    Raises ServerError; the call is then recorded with the error's outcome.
    """
    spec = slot.spec
    with ninesight.call(model=spec.name, version=spec.version) as call:
        try:
            with ninesight.stage("preprocess"):
                request = parse_json(body)
                inputs = decode_inputs(request, spec)
            outputs = await slot.infer(inputs, call)
            call.predictions(len(next(iter(inputs.values()))))
            with ninesight.stage("postprocess"):
                payload = orjson.dumps(
                    encode_outputs(spec, outputs, request.get("id")),
                    option=orjson.OPT_SERIALIZE_NUMPY,
                )
        except ServerError as error:
            call.outcome(error.outcome)
            raise
    return payload, call.duration_s or 0.0  # None only where recording is switched off.
