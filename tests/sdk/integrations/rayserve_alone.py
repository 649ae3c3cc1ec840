"""The example of Ray Serve, judged by the client's log. Started by test_rayserve.py in a network of its own.

Ray's processes listen on every interface whatever they are told. Here there is only loopback, and the one who
started this looks from outside while Ray runs.
"""

import json
import os
import socket
import tempfile
from pathlib import Path

import pytest

from .judged import BATCHES, check, texts, texts_of
from .sockets import listening, network_of, processes_in

RAY = """
import os, runpy
import ray

ray.init(
    num_cpus=1,
    include_dashboard=False,
    object_store_memory=80 * 2**20,
    _node_ip_address="127.0.0.1",
    _temp_dir=os.environ["RAY_FILES"],
)
runpy.run_path("app.py", run_name="__main__")
"""


@pytest.fixture
def ray_files():
    """A short folder for Ray's files: the paths of its sockets must fit into 107 bytes."""
    with tempfile.TemporaryDirectory(prefix="ray", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.mark.timeout(300)
def test_ray_serve_counts_over_its_replicas(example, framework, ray_files, serve, until):
    """Two replicas, each an actor's process; shed requests by the exception's status. One CPU, no dashboard."""
    assert [name for _, name in socket.if_nameindex()] == ["lo"]
    client = serve(
        example("rayserve.md"),
        "-c",
        RAY,
        python=framework("rayserve"),
        PORT="{port}",
        RAY_FILES=str(ray_files),
        RAY_USAGE_STATS_ENABLED="0",
        timeout_s=200.0,
        loopback_only=False,
    )
    client.many([("/predict", texts(count)) for count in BATCHES])
    check(client, until, texts_of, {200: 20, 429: 2})

    inside = listening(processes_in(network_of()))
    assert client.port in {each.port for each in inside}
    folder = Path(os.environ["NINESIGHT_TOLD_TO"])
    (folder / "writing").write_text(json.dumps(inside))
    (folder / "writing").rename(folder / "listening.json")
    until((folder / "looked").exists, 60.0)
