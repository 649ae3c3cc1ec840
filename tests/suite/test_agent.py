"""`ninesight agent`: it collects on a node, keeps what nobody takes on its disk, and sends it to a suite."""

import re
import subprocess
import sys
from contextlib import contextmanager

import httpx2
import pytest
from ninesight_query.testing_servers import free_port
from ninesight_suite.agent import load_agent_config
from ninesight_suite.child import Child, wait_until_ready
from ninesight_suite.errors import ConfigError
from ninesight_suite.testing import eventually, gauge_request, now_ms, push, running_suite


@contextmanager
def running_agent(folder, url):
    """Run `ninesight agent` on a free port; yields its address."""
    log = folder / "agent.log"
    log.write_bytes(b"")
    words = ["agent", "--remote-write", url, "--data-dir", str(folder / "agent"), "--listen", "127.0.0.1:0"]
    child = Child("agent", ["ninesight_suite.demo.process", *words], log=log)

    def address():
        assert child.exit_code is None, child.tail(40)
        found = re.search(r"receives\s+(http://[\d.:]+)", child.tail(100))
        return found.group(1) if found else None

    try:
        api = eventually(address, timeout_s=90.0, what="the agent's address")
        wait_until_ready(child, f"{api}/-/ready", timeout_s=90.0)
        yield api
    finally:
        assert child.stop() == 0


def test_what_an_agent_takes_reaches_a_suite_that_was_down(tmp_path):
    """Pushed while the suite is down, over a restart of the agent, and asked of the suite when it is up."""
    port = free_port()
    url = f"http://127.0.0.1:{port}/api/v1/write"
    with httpx2.Client(timeout=30.0) as client:
        with running_agent(tmp_path, url) as api:
            assert push(client, api, gauge_request("kept", 1.0, now_ms(), n="1")).status_code == 200
            targets = client.get(f"{api}/api/v1/targets").json()["data"]["activeTargets"]
            assert {one["kind"] for one in targets} >= {"host", "gpu", "remote_write", "otlp"}
        with running_agent(tmp_path, url) as api:
            assert push(client, api, gauge_request("kept", 2.0, now_ms(), n="2")).status_code == 200
            config = {"listen": f"127.0.0.1:{port}", "collector": {"host": {"enabled": False}}}
            with running_suite(tmp_path / "suite", config) as suite:
                rows = eventually(
                    lambda: len(found := suite.query("last_over_time(kept[1h])")) == 2 and found, what="both"
                )
                assert {row["metric"]["n"]: row["value"][1] for row in rows} == {"1": "1", "2": "2"}
                assert eventually(lambda: suite.value("count(host_memory_used_bytes)") == 1, what="the host")


def test_an_agent_imports_only_what_it_runs():
    """Its memory is mostly imported code: neither database, queries and pages, nor what they stand on."""
    program = (
        "import sys, ninesight_suite.commands, ninesight_suite.agent\n"
        "print(*{name.split('.')[0] for name in sys.modules}, 'google.protobuf.descriptor_pb2' in sys.modules)"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    *packages, descriptors = found.stdout.split()
    ours = {name for name in packages if name.startswith("ninesight")}
    assert ours == {"ninesight_collector", "ninesight_store", "ninesight_suite"}
    others = {
        "alembic",
        "apscheduler",
        "dash",
        "fastapi",
        "pandas",
        "pcodec",
        "promql_parser",
        "rich",
        "sqlalchemy",
    }
    assert not others & set(packages)
    assert descriptors == "False", "what declares messages is 2 MB"


def test_an_agent_needs_somewhere_to_send_to(tmp_path):
    """One line that says what to give, exit code 2."""
    found = subprocess.run(
        [sys.executable, "-m", "ninesight_suite.cli", "agent", "--data-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert found.returncode == 2
    assert "--remote-write URL" in found.stderr
    assert "Traceback" not in found.stderr


def test_an_agent_reads_the_suites_file(tmp_path):
    """Sections of the suite may stand there; its own are checked with their keys."""
    path = tmp_path / "node.yaml"
    path.write_text(
        "query: {lookback: 5m}\nalerts: {}\nlisten: 127.0.0.1:0\n"
        "collector: {remote_write: [{url: 'http://a:1/api/v1/write', ca_file: ca.pem}]}\n"
    )
    config = load_agent_config(path, ("http://b:2/api/v1/write",))
    assert [one.target for one in config.collector.remote_write] == ["a:1", "b:2"]
    assert config.collector.remote_write[0].ca_file == tmp_path / "ca.pem"
    path.write_text("collector: {remote_write: [{urll: x}]}\n")
    with pytest.raises(
        ConfigError, match=r"collector\.remote_write\.0\.urll: there is no such key; did you mean url"
    ):
        load_agent_config(path)
