"""A remote engine over TLS: its own authority is trusted, any other is not, slow answers arrive whole."""

import contextlib
import http.server
import json
import ssl
import subprocess
import threading
import time

import pytest
from ninesight_query import RemoteEngine, RemoteSettings, UnavailableError

ANSWER = {"status": "success", "data": {"resultType": "scalar", "result": [4, "2"]}}
BUILD = {"status": "success", "data": {"version": "3.1.0"}}


@pytest.fixture
def certificate(real, tmp_path):
    """A certificate for 127.0.0.1 that signs itself: (certificate, key)."""
    paths = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = [
        real("openssl"),
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=test",
    ]
    command += ["-addext", "subjectAltName=IP:127.0.0.1", "-out", str(paths[0]), "-keyout", str(paths[1])]
    subprocess.run(command, check=True, capture_output=True, timeout=60)
    return paths


@contextlib.contextmanager
def serving(certificate, pause_s):
    """A server that answers in two halves with a pause between; yields its address."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def handle_any(self):
            self.rfile.read(int(self.headers.get("content-length") or 0))
            body = json.dumps(BUILD if self.path.endswith("buildinfo") else ANSWER).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[:20])
            self.wfile.flush()
            time.sleep(pause_s)
            self.wfile.write(body[20:])

        do_GET = do_POST = handle_any

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


def test_a_slow_answer_over_tls(certificate):
    """Reads that wake up in between lose nothing of an encrypted answer."""
    with serving(certificate, pause_s=0.35) as address:
        engine = RemoteEngine(RemoteSettings(address, ca_file=certificate[0]))
        assert engine.instant("1 + 1", 4_000).value.value == 2.0
        engine.close()


def test_an_unknown_authority_is_not_trusted(certificate):
    """Without its certificate among the trusted ones nothing is asked."""
    with serving(certificate, pause_s=0.0) as address:
        engine = RemoteEngine(RemoteSettings(address, retries_max=0))
        with pytest.raises(UnavailableError, match="certificate"):
            engine.instant("1 + 1", 4_000)
        engine.close()
