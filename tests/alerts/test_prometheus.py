"""The life of alerts, side by side with Prometheus' own rule evaluator (promtool test rules)."""

import json
import random
import subprocess

from ninesight_alerts import AlertState, rules_from_mapping
from ninesight_alerts.evaluation import RuleState, evaluate_rule
from ninesight_query import LocalEngine
from ninesight_query.contract import labels_of
from ninesight_store.testing import MemoryStore, batch_of

STEPS = 40
MODELS = 6
LIVES = [("0s", "0s"), ("1m", "0s"), ("3m", "0s"), ("0s", "2m"), ("2m", "3m"), ("1m", "1m")]


def presence(rng):
    """A row of zeros and ones in runs of random length."""
    row = []
    while len(row) < STEPS:
        row += [rng.randint(0, 1)] * rng.choice((1, 1, 2, 3, 5, 8))
    return row[:STEPS]


def test_the_same_alerts_fire_at_the_same_times(tmp_path, real):
    """Six rules of different `for` and `keep_firing_for` over six random series, at every minute."""
    promtool = real("promtool")
    rng = random.Random(7)
    rows = {str(at): presence(rng) for at in range(MODELS)}
    rules = [
        {"alert": f"A{at}", "expr": "x == 1", "for": hold, "keep_firing_for": keep}
        for at, (hold, keep) in enumerate(LIVES)
    ]
    document = {"groups": [{"name": "g", "interval": "1m", "rules": rules}]}
    (tmp_path / "rules.yml").write_text(json.dumps(document))
    case = {
        "interval": "1m",
        "input_series": [
            {"series": f'x{{model="{model}"}}', "values": " ".join(map(str, row))}
            for model, row in rows.items()
        ],
        "alert_rule_test": [
            {
                "eval_time": f"{at}m",
                "alertname": name,
                "exp_alerts": [{"exp_labels": {"model": model}} for model in models],
            }
            for (at, name), models in firing(document, rows).items()
        ],
    }
    (tmp_path / "tests.yml").write_text(
        json.dumps({"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [case]})
    )
    result = subprocess.run(
        [promtool, "test", "rules", str(tmp_path / "tests.yml")],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert result.returncode == 0, (result.stdout + result.stderr)[:4_000]


def firing(document, rows):
    """What fires by minute and rule, after ours."""
    store = MemoryStore()
    store.write(
        batch_of(
            {
                labels_of("x", {"model": model}): [
                    (at * 60_000, float(value)) for at, value in enumerate(row)
                ]
                for model, row in rows.items()
            }
        )
    )
    (group,) = rules_from_mapping(document)
    engine, found = LocalEngine(store), {}
    states = {rule.key: RuleState() for rule in group.rules}
    for at in range(STEPS):
        for rule in group.rules:
            states[rule.key] = evaluate_rule(group, rule, states[rule.key], engine, at * 60_000)
            found[at, rule.name] = [
                dict(alert.labels)["model"]
                for alert in states[rule.key].states.values()
                if alert.state is AlertState.FIRING
            ]
    assert sum(map(len, found.values())) > STEPS, "the series make many alerts fire"
    return found
