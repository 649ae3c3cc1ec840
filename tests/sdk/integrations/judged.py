"""What the examples of Ray Serve, BentoML and MLServer share: what is asked, and how the answers are judged."""

from collections import Counter

TOO_MANY = 40
BATCHES = [*[1, 2, 3, 1, 5, 8, 2, 1, 3, 13] * 2, TOO_MANY, TOO_MANY]


def check(client, until, rows_of, answers):
    """Outcomes, predictions, stages and percentiles are the client's own; `answers` are its counts by status."""
    assert Counter(status for _, status, _ in client.log) == answers
    served = [rows_of(body) for body, status, _ in client.log if status == 200]
    for outcome, count in (("ok", len(served)), ("shed", len(client.log) - len(served))):
        until(
            lambda outcome=outcome, count=count: (
                client.total("model_requests_total", model="sentiment", outcome=outcome) == count
            ),
            60.0,
        )
    assert client.total("model_requests_total", model="sentiment") == len(client.log)
    assert client.total("model_predictions_total", model="sentiment") == sum(served)
    inference = {"model": "sentiment", "stage": "inference"}
    until(lambda: client.total("model_stage_duration_seconds_count", **inference) == len(served))
    assert client.total("model_ready", model="sentiment") == 1
    assert client.total("model_loaded", model="sentiment") == 1
    assert client.total("model_requests_in_flight", model="sentiment") == 0
    client.check_durations("sentiment", lambda body: 0.01 * rows_of(body))


def texts(count):
    return {"texts": ["text"] * count}


def texts_of(body):
    return len(body["texts"])
