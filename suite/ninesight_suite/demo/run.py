"""The demo from start to end: start, quiet traffic, a fault, the alert, its webhook, the resolution.

files ─► history? ─► webhook receiver ─► suite ─► server ─► load ─► fault ─► resolved ─► until Ctrl-C
"""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx2
from rich.console import Console

from ninesight_suite.child import Child, wait_until_ready
from ninesight_suite.demo.files import DemoFiles, write_files
from ninesight_suite.demo.gpu_signal import GpuSignal
from ninesight_suite.demo.past import write_past
from ninesight_suite.demo.probe import Probe
from ninesight_suite.demo.screen import Screen
from ninesight_suite.demo.settings import DemoSettings, Seen
from ninesight_suite.demo.webhook_receiver import ReceivedWebhook, WebhookReceiver
from ninesight_suite.errors import StartError, SuiteError

__all__ = ["run_demo"]

_MARKER = ".ninesight-demo"
_POLL_S = 0.25
_START_S_MAX = 45.0
_ALERT_S_MAX = 60.0
_RESOLVE_S_MAX = 75.0


@dataclass
class _Demo:
    settings: DemoSettings
    screen: Screen
    seen: Seen
    stack: ExitStack
    ending: threading.Event

    def await_(self, text: str, condition: Callable[[], bool], timeout_s: float) -> bool:
        """Wait for a condition; False when time ran out, the demo is over, or a person ended it."""
        deadline = time.monotonic() + timeout_s
        with self.screen.waiting(text):
            while time.monotonic() < deadline and not self.over:
                if condition():
                    return True
                self.ending.wait(_POLL_S)
        return False

    @property
    def over(self) -> bool:
        """True when the demo should end now."""
        seconds = self.settings.seconds
        return self.ending.is_set() or (seconds is not None and self.screen.elapsed_s >= seconds)


def run_demo(settings: DemoSettings, console: Console, *, ending: threading.Event | None = None) -> Seen:
    """Run until Ctrl-C, `ending` or `settings.seconds`; return what was seen. Raises SuiteError if it cannot start."""
    with ExitStack() as stack:
        demo = _Demo(settings, Screen(console), Seen(), stack, ending or threading.Event())
        try:
            _play(demo)
        except KeyboardInterrupt:
            demo.screen.say("stopping")
        return demo.seen


def _play(demo: _Demo) -> None:
    settings, screen = demo.settings, demo.screen
    _empty(settings.folder)
    receiver = WebhookReceiver(on_message=lambda message: _show_webhook(screen, message))
    demo.stack.callback(receiver.close)
    files = write_files(settings, receiver.url)
    if settings.history_s:
        with screen.progress("writing the labelled, simulated past") as progress:
            samples = write_past(settings, progress=progress)
        screen.say(f'{samples:,} samples of simulated history written (label simulated="true")')
    probe, server_url = _start(demo, files)
    if not demo.await_("waiting for live data", lambda: bool(probe.request_rate()), _START_S_MAX):
        return
    demo.seen.data = True
    screen.say(f"live data: {probe.request_rate():.0f} requests/s")
    demo.seen.page = demo.await_("waiting for the page", probe.page_ok, _START_S_MAX)
    if demo.seen.page:
        screen.say(f"[bold]the pages are at {probe.pages_url}[/bold]")
    _fault(demo, probe, receiver, server_url)
    if settings.seconds is None:
        screen.say("everything was shown; it goes on until you press Ctrl-C")
    demo.await_("running", lambda: False, 10**9)


def _empty(folder: Path) -> None:
    """Make the folder anew. Raises SuiteError for one that holds files and was not made by a demo."""
    marker = folder / _MARKER
    if folder.exists() and any(folder.iterdir()) and not marker.exists():
        raise SuiteError(
            f"--folder must be empty or one that a demo made, and {folder} is neither; name another"
        )
    if folder.exists():
        shutil.rmtree(folder)
    folder.mkdir(parents=True)
    marker.write_text("made by `ninesight demo`, which empties this folder when it starts\n")


def _start(demo: _Demo, files: DemoFiles) -> tuple[Probe, str]:
    """Start suite, server and load; return the probe and the server's address."""
    settings, screen = demo.settings, demo.screen
    folder = settings.folder
    suite = _child(demo, "suite", ["up", "--config", str(files.config)])
    client = demo.stack.enter_context(httpx2.Client(timeout=5.0))
    probe = Probe(settings.api.url, settings.pages.url, client)
    # Both load at the same time; the server's first pushes are sent again until the suite is there.
    server = _child(
        demo,
        "server",
        ["serve", "--port", "0", "--faults", "--accelerator", "0"],
        env={
            "OTEL_EXPORTER_OTLP_ENDPOINT": probe.api_url,
            "OTEL_SERVICE_NAME": "reference-server",
            "NINESIGHT_EXPORT_INTERVAL_S": "1",
        },
    )
    with screen.waiting("starting the suite"):
        wait_until_ready(suite, f"{probe.api_url}/-/ready", timeout_s=_START_S_MAX)
    screen.say(f"suite: API and receivers on {probe.api_url}, embedded store in {folder / 'data'}")
    server_url = _address_of(demo, server)
    with screen.waiting("loading two ONNX models"):
        wait_until_ready(server, f"{server_url}/v2/health/ready", timeout_s=_START_S_MAX)
    screen.say(f"reference server: digits-light and ranker-heavy on {server_url}")
    load = ["load", "--url", server_url, "--rate", f"{settings.rate_per_s:g}", "--seconds", "86400"]
    _child(demo, "load", [*load, "--log", str(folder / "load.jsonl")])
    screen.say(f"load: {settings.rate_per_s:g} requests/s, every one logged in {folder / 'load.jsonl'}")
    signal = GpuSignal(probe, files.scenario, server.pid)
    signal.start()
    demo.stack.callback(signal.stop)
    return probe, server_url


def _child(demo: _Demo, name: str, words: list[str], env: dict[str, str] | None = None) -> Child:
    log = demo.settings.folder / f"{name}.log"
    child = Child(name, ["ninesight_suite.demo.process", *words], env=env, log=log)
    demo.stack.callback(child.stop)
    return child


def _address_of(demo: _Demo, server: Child) -> str:
    """Wait for the line in which the server names its address."""
    found: list[str] = []

    def named() -> bool:
        if server.exit_code is not None:
            raise StartError(f"the reference server ended with code {server.exit_code}:\n{server.tail()}")
        found[:] = re.findall(r"serving on (http://\S+)", server.tail())
        return bool(found)

    if not demo.await_("starting the reference server", named, _START_S_MAX):
        raise StartError(f"the reference server named no address:\n{server.tail()}")
    return found[0]


def _fault(demo: _Demo, probe: Probe, receiver: WebhookReceiver, server_url: str) -> None:
    """Slow one model down until its alert has been delivered, then wait for the resolution."""
    settings, screen, seen = demo.settings, demo.screen, demo.seen
    until_s = screen.elapsed_s + settings.fault_after_s
    demo.await_(
        "quiet traffic before the fault", lambda: screen.elapsed_s >= until_s, settings.fault_after_s + 5
    )
    if demo.over:
        return
    model = settings.faulty_model
    _tell(server_url, model, settings.delay_ms)
    screen.say(f"fault: every batch of {model} now waits {settings.delay_ms:g} ms longer", "yellow")

    def firing() -> bool:
        return any(alert["labels"].get("model") == model for alert in probe.alerts("firing"))

    try:
        if demo.await_("waiting for the burn-rate alert", firing, _ALERT_S_MAX):
            seen.alert = True
            names = sorted({alert["labels"]["alertname"] for alert in probe.alerts("firing")})
            screen.say(
                f"alert firing: {', '.join(names)} (p95 of {model}: {probe.p95_ms(model) or 0:.0f} ms)", "red"
            )
            seen.webhook = demo.await_("waiting for its webhook", lambda: _arrived(receiver, "firing"), 15.0)
    finally:
        _tell(server_url, model, 0.0)
    screen.say(f"fault removed: {model} answers as before")
    if seen.webhook:
        seen.resolution = demo.await_(
            "waiting for the resolution", lambda: _arrived(receiver, "resolved"), _RESOLVE_S_MAX
        )


def _arrived(receiver: WebhookReceiver, status: str) -> bool:
    return any(message.status == status for message in receiver.messages)


def _tell(server_url: str, model: str, delay_ms: float) -> None:
    answer = httpx2.post(f"{server_url}/admin/faults/{model}", json={"delay_ms": delay_ms}, timeout=10.0)
    answer.raise_for_status()


def _show_webhook(screen: Screen, message: ReceivedWebhook) -> None:
    style = "red" if message.status == "firing" else "green"
    screen.say(f"webhook arrived: {message.status} {', '.join(message.alert_names)} (id {message.id})", style)
    for alert in message.body.get("alerts", ())[:3]:
        if summary := alert.get("annotations", {}).get("summary"):
            screen.say(f"  {summary}", "dim")
