"""Run by test_own_environments.py in MLServer's environment: asks its gRPC side from four threads, prints the log.

Arguments: the port, and the rows of each request as JSON. Prints [[rows, status, seconds], ...] as JSON; statuses are
HTTP's, as MLServer's gRPC side has none for "too many". Each fourth request is a stream of one, each second one raw.
"""

import json
import struct
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import grpc
from mlserver.grpc import dataplane_pb2 as messages
from mlserver.grpc.dataplane_pb2_grpc import GRPCInferenceServiceStub

MODEL = "sentiment"
TOO_MANY = "at most 32 rows at once; try again with fewer"


def request_of(rows: int, *, raw: bool) -> messages.ModelInferRequest:
    """Return a request of ones, [rows, 4], in typed contents or as raw bytes."""
    request = messages.ModelInferRequest(model_name=MODEL)
    tensor = request.inputs.add(name="x", datatype="FP32", shape=[rows, 4])
    values = [1.0] * (4 * rows)
    if raw:
        request.raw_input_contents.append(struct.pack(f"<{len(values)}f", *values))
    else:
        tensor.contents.fp32_contents.extend(values)
    return request


def main() -> None:
    """Ask all, print what came."""
    port, batches = sys.argv[1], json.loads(sys.argv[2])
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        grpc.channel_ready_future(channel).result(30)
        stub = GRPCInferenceServiceStub(channel)

        def ask(numbered: tuple[int, int]) -> tuple[int, int, float]:
            number, rows = numbered
            request = request_of(rows, raw=number % 2 == 0)
            start = time.perf_counter()
            try:
                if number % 4 == 3:
                    (answer,) = stub.ModelStreamInfer(iter([request]), timeout=60)
                else:
                    answer = stub.ModelInfer(request, timeout=60)
            except grpc.RpcError as error:
                # A worker puts the exception's class before the words.
                if error.code() is not grpc.StatusCode.UNKNOWN or not error.details().endswith(TOO_MANY):
                    raise
                status = 429
            else:
                assert list(answer.outputs[0].shape) == [rows, 1], answer
                status = 200
            return rows, status, time.perf_counter() - start

        with ThreadPoolExecutor(4) as pool:
            sys.stdout.write(json.dumps(list(pool.map(ask, enumerate(batches)))))


if __name__ == "__main__":
    main()
