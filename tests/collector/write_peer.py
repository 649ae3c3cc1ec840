"""A remote-write receiver that answers what a test says."""

import http.server
import threading

import cramjam

from .prw_messages import Request, WriteRequest

WRITTEN = [
    (f"X-Prometheus-Remote-Write-{kind}-Written", "1") for kind in ("Samples", "Histograms", "Exemplars")
]


class Peer:
    """A receiver that answers what a test says. `versions` are those it takes; others get 415."""

    def __init__(self, versions=(1, 2)):
        self.versions, self.script, self.taken, self.tried, self.headers = versions, [], [], 0, []
        self.lock = threading.Lock()
        peer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_):
                pass

            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                version = 2 if "write.v2" in self.headers["content-type"] else 1
                status, headers = peer.judge(
                    version, bytes(cramjam.snappy.decompress_raw(body)), self.headers
                )
                self.send_response(status)
                text = b"words of the receiver" if status >= 300 else b""
                for name, value in [*headers, ("Content-Length", str(len(text)))]:
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.server.handle_error = lambda *_: None
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/api/v1/write"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def judge(self, version, body, headers):
        """Return status and headers; keep the message where it is taken."""
        with self.lock:
            self.headers.append(dict(headers))
            if version not in self.versions:
                return 415, []
            own = WRITTEN if version == 2 else []
            if not body:
                return 204, own
            self.tried += 1
            message = (Request if version == 2 else WriteRequest).FromString(body)
            status, extra = self.script.pop(0) if self.script else (204, [])
            if callable(status):
                status = status(message)
            if status < 300:
                self.taken.append(message)
                return status, own
            return status, extra

    def samples(self):
        """Return {labels: [(time, value), ...]} of what was taken, in the order it came."""
        found = {}
        for message in list(self.taken):
            for one in message.timeseries:
                if hasattr(message, "symbols"):
                    texts = [message.symbols[ref] for ref in one.labels_refs]
                    labels = tuple(zip(texts[::2], texts[1::2], strict=True))
                else:
                    labels = tuple((pair.name, pair.value) for pair in one.labels)
                found.setdefault(labels, []).extend((each.timestamp, each.value) for each in one.samples)
        return found

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join(60)
