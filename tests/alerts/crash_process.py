"""Processes to kill: rules over a file that says what fires, one receiver, until death.

Reads one JSON line a process, `[database URL, truth file, receiver URL]`, forks it and answers
`forked PID`; the process itself says `ready PID`. Forked, because importing takes longer than a round.
"""

import json
import os
import signal
import sys
import threading
from pathlib import Path

from ninesight_alerts import Alerting, AlertsConfig, rules_from_text
from ninesight_alerts.testing import ScriptedEngine, element

RULES = """
groups:
- name: g
  interval: 100ms
  rules:
  - {alert: Broken, expr: broken == 1}
"""


def watch(url, truth, receiver):
    """Run until killed."""

    def broken(_at_ms):
        return {element(model=name): 1.0 for name in json.loads(Path(truth).read_text())}

    config = AlertsConfig(
        receivers=[{"name": "hook", "url": receiver, "allow_private": True, "timeout": "2s"}],
        backoff_min="20ms",
        backoff_max="200ms",
    )
    alerting = Alerting(config, ScriptedEngine({"broken == 1": broken}), url, groups=rules_from_text(RULES))
    alerting.start()
    say(f"ready {os.getpid()}")
    threading.Event().wait()


def say(text):
    """Answer the test."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main():
    """Fork one process a line until the input ends."""
    # The kernel reaps: a killed process is gone at once.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        child = os.fork()
        if child == 0:
            sys.stdin.close()
            watch(*json.loads(line))
        say(f"forked {child}")


if __name__ == "__main__":
    main()
