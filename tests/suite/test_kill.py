"""kill -9 of the whole suite: nothing acknowledged is lost, nothing promised is forgotten."""

import random
import threading

import httpx2
import yaml
from ninesight_suite.demo.webhook_receiver import WebhookReceiver
from ninesight_suite.testing import eventually, gauge_request, now_ms, push, running_suite

ROUNDS = 3


def test_no_acknowledged_sample_is_lost_when_the_suite_is_killed(tmp_path):
    """While a client pushes, the suite is killed at a random moment; after the restart every 200 is there."""
    rng = random.Random(20261123)
    acknowledged: dict[str, float] = {}
    number = 0
    for _ in range(ROUNDS):
        with running_suite(tmp_path) as suite:
            killer = threading.Timer(rng.uniform(0.0, 0.05), suite.child.kill)
            last = len(acknowledged) + rng.randint(8, 80)
            with httpx2.Client(timeout=60.0) as client:
                while True:
                    number += 1
                    if len(acknowledged) >= last and killer.ident is None:
                        killer.start()
                    body = gauge_request("counted", float(number), now_ms(), number=str(number))
                    try:
                        if push(client, suite.api_url, body).status_code == 200:
                            acknowledged[str(number)] = float(number)
                    except httpx2.HTTPError:
                        break
            killer.join()
    assert len(acknowledged) > 20
    with running_suite(tmp_path) as suite:
        rows = suite.query("last_over_time(counted[1h])")
        found = {row["metric"]["number"]: float(row["value"][1]) for row in rows}
    missing = {key for key, value in acknowledged.items() if found.get(key) != value}
    assert not missing, f"{len(missing)} of {len(acknowledged)} acknowledged samples are lost"


def test_a_webhook_is_delivered_after_a_kill_with_the_same_key(tmp_path):
    """The receiver refuses, the suite is killed, the receiver mends: the same message arrives with the same key."""
    rules = {
        "groups": [{"name": "g", "interval": "1s", "rules": [{"alert": "Always", "expr": "vector(1) > 0"}]}]
    }
    (tmp_path / "rules.yaml").write_text(yaml.safe_dump(rules))
    refused: list[str] = []
    with RefusingReceiver(refused) as receiver:
        config = {
            "alerts": {
                "rule_files": ["rules.yaml"],
                "receivers": [{"name": "r", "url": receiver.url, "allow_private": True}],
            }
        }
        with running_suite(tmp_path, config) as suite:
            assert eventually(lambda: refused, what="a first attempt")
            suite.child.kill()
        receiver.accepting = True
        with running_suite(tmp_path, config):
            message = receiver.receiver.wait_for(lambda one: one.status == "firing", 90.0)
        assert message is not None
        assert message.id == refused[0]
        assert message.alert_names == ("Always",)
        firing = [one for one in receiver.receiver.messages if one.status == "firing"]
        assert len(firing) == 1


class RefusingReceiver:
    """A webhook receiver that answers 503 until `accepting`, remembering the keys it refused."""

    def __init__(self, refused):
        self.accepting = False
        outer = self

        class Receiver(WebhookReceiver):
            def _take(self, request):
                if outer.accepting:
                    return super()._take(request)
                request.rfile.read(int(request.headers["Content-Length"]))
                refused.append(request.headers.get("webhook-id") or request.headers["Idempotency-Key"])
                return 503, "not now\n"

        self.receiver = Receiver()
        self.url = self.receiver.url

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.receiver.close()
