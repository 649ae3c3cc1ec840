"""Real OTLP receivers for tests, over HTTP and gRPC, with one face: what came, and how to answer."""

import gzip
import http.server
import threading
from concurrent.futures import ThreadPoolExecutor

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)


class Taken:
    """What a receiver took. `away` has it refuse, to be tried again; `never` to be given up.

    `partial` is (how many points or spans it refuses of what it takes, its words). `moved` is where it redirects to.
    """

    def __init__(self):
        self.partial = None
        self.moved = None
        self.away = False
        self.never = False
        self.metrics = []
        self.traces = []
        self.metadata = {}

    def spans(self):
        return [
            span
            for request in self.traces
            for resource in request.resource_spans
            for scope in resource.scope_spans
            for span in scope.spans
        ]

    def points(self, name, push=-1):
        """Points of a metric in one push, with their attributes as a dict."""
        found = []
        for resource in self.metrics[push].resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    if metric.name == name:
                        data = getattr(metric, metric.WhichOneof("data"))
                        found += [(attributes(point.attributes), point, data) for point in data.data_points]
        return found

    def take(self, path, body):
        """Keep what came; return the body of the answer."""
        rejected, words = self.partial or (0, "")
        if path.endswith("/v1/metrics"):
            self.metrics.append(ExportMetricsServiceRequest.FromString(body))
            partial = {"rejected_data_points": rejected, "error_message": words}
            answer = ExportMetricsServiceResponse(partial_success=partial)
        else:
            self.traces.append(ExportTraceServiceRequest.FromString(body))
            partial = {"rejected_spans": rejected, "error_message": words}
            answer = ExportTraceServiceResponse(partial_success=partial)
        # Without `partial` the field is there and empty, as some receivers send it.
        return answer.SerializeToString()


def attributes(items):
    return {item.key: getattr(item.value, item.value.WhichOneof("value")) for item in items}


class HttpReceiver(Taken):
    protocol = "http/protobuf"

    def __init__(self):
        super().__init__()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = gzip.decompress(self.rfile.read(int(self.headers["content-length"])))
                receiver.metadata = {name.lower(): value for name, value in self.headers.items()}
                status = 503 if receiver.away else 400 if receiver.never else 307 if receiver.moved else 200
                answer = receiver.take(self.path, body) if status == 200 else b""
                self.send_response(status)
                if receiver.moved:
                    self.send_header("location", receiver.moved)
                self.send_header("content-type", "application/x-protobuf")
                self.send_header("content-length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.endpoint = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))
        self._thread.start()

    def stop(self):
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class GrpcReceiver(Taken):
    protocol = "grpc"

    def __init__(self):
        super().__init__()
        import grpc

        receiver = self

        class Handler(grpc.GenericRpcHandler):
            def service(self, details):
                path = "/v1/metrics" if "MetricsService" in details.method else "/v1/traces"

                def answer(body, context):
                    receiver.metadata = dict(context.invocation_metadata())
                    if receiver.away:
                        context.abort(grpc.StatusCode.UNAVAILABLE, "away")
                    if receiver.never:
                        context.abort(grpc.StatusCode.INVALID_ARGUMENT, "never")
                    return receiver.take(path, body)

                return grpc.unary_unary_rpc_method_handler(answer)

        self._server = grpc.server(ThreadPoolExecutor(2))
        self._server.add_generic_rpc_handlers((Handler(),))
        port = self._server.add_insecure_port("127.0.0.1:0")
        self.endpoint = f"http://127.0.0.1:{port}"
        self._server.start()

    def stop(self):
        self._server.stop(None).wait()
