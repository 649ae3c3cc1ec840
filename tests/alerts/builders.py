"""Small builders shared by the tests of alerts."""

from ninesight_alerts import ActiveAlert, AlertState


def alert(
    name="A", *, state=AlertState.FIRING, since=0, fired=0, resolved=None, value=1.0, annotations=(), **labels
):
    """Return an active alert."""
    pairs = tuple(sorted({"alertname": name, **labels}.items()))
    fired = None if state is AlertState.PENDING else fired
    return ActiveAlert(pairs, state, value, tuple(annotations), since, fired, resolved)


def over(item, at_ms):
    """Return the alert as resolved."""
    return ActiveAlert(
        item.labels,
        AlertState.RESOLVED,
        item.value,
        item.annotations,
        item.active_since_ms,
        item.fired_ms,
        at_ms,
    )
