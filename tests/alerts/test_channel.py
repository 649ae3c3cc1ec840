"""The webhook channel against real servers on the loopback interface."""

import logging
import socket

import pytest
from ninesight_alerts import PermanentError, RetryableError
from ninesight_alerts.channel import WebhookChannel, WebhookSettings
from ninesight_alerts.signing import secret_key
from ninesight_alerts.testing import ChannelContract, LocalReceiver, notification_of


@pytest.fixture
def receiver():
    """Start receivers; all are stopped at the end."""
    running = []

    def start(*answers):
        running.append(LocalReceiver(answers or (200,)).__enter__())
        return running[-1]

    yield start
    for item in running:
        item.__exit__()


def channel(url, **changes):
    return WebhookChannel(WebhookSettings(**{"name": "hook", "url": url, "allow_private": True, **changes}))


class TestContract(ChannelContract):
    """The webhook channel keeps the contract of channels."""

    @pytest.fixture
    def channel_of(self, receiver):
        """Give a channel to a receiver that answers so."""

        def make(answers):
            there = receiver(*answers)
            return channel(there.url), lambda: (item.id for item in there.received)

        return make


def test_what_arrives_is_what_was_committed(receiver):
    """Body bytes unchanged, JSON content type, one request a connection."""
    there = receiver()
    receipt = channel(there.url).send(notification_of("msg_1", b'{"a": "\xc3\xa9"}'))
    (got,) = there.received
    assert (receipt.status_code, got.body, got.id) == (200, b'{"a": "\xc3\xa9"}', "msg_1")
    assert got.headers["content-type"] == "application/json"
    assert "webhook-signature" not in got.headers


def test_a_redirect_is_not_followed(receiver):
    """It may be tried again once somebody has corrected the URL, and the words say so."""
    there = receiver(302)
    with pytest.raises(
        RetryableError, match="HTTP 302; redirects are not followed, set url to the final address"
    ):
        channel(there.url).send(notification_of())
    assert there.paths == ["/hook"]


def test_a_receiver_that_drips_is_left_at_the_deadline(receiver):
    """Headers that never end do not hold the thread: the timeout is for the whole attempt."""
    there = receiver("hang")
    with pytest.raises(RetryableError, match=r"no answer within 0\.3 s"):
        channel(there.url, timeout_s=0.3).send(notification_of())


def test_nobody_there_is_retryable():
    """A refused connection is no verdict on the notification."""
    with socket.socket() as silent:
        # Bound and not listening: nobody else can take the port.
        silent.bind(("127.0.0.1", 0))
        with pytest.raises(RetryableError, match="ConnectError"):
            channel(f"http://127.0.0.1:{silent.getsockname()[1]}/").send(notification_of())


def test_a_name_that_does_not_resolve_is_retryable(receiver):
    """DNS may be back later."""

    def unknown(host, port):
        raise socket.gaierror(-2, "Name or service not known")

    broken = WebhookChannel(WebhookSettings("hook", "http://nowhere.example/"), resolver=unknown)
    with pytest.raises(RetryableError, match="Name or service not known"):
        broken.send(notification_of())


def test_the_address_is_checked_when_connecting(receiver):
    """A name that was public when configured and is private now reaches nobody."""
    there = receiver()
    port = int(there.url.split(":")[2].split("/")[0])
    moved = WebhookChannel(
        WebhookSettings("hook", f"http://hooks.example:{port}/hook"), resolver=lambda *_: ["127.0.0.1"]
    )
    with pytest.raises(PermanentError, match=r"hooks\.example is the private address 127\.0\.0\.1"):
        moved.send(notification_of())
    assert there.received == []


def test_an_answer_that_is_no_http_is_retryable():
    """A server that speaks something else is an attempt that failed."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        import threading

        def answer():
            connection, _ = server.accept()
            connection.recv(65536)
            connection.sendall(b"SSH-2.0-nope\r\n\r\n")
            connection.close()

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(RetryableError, match="Protocol"):
            channel(f"http://127.0.0.1:{server.getsockname()[1]}/").send(notification_of())
        thread.join()


def test_nothing_secret_is_logged_or_shown(receiver, caplog):
    """Neither the path nor the key stands in logs, repr or errors."""
    caplog.set_level(logging.DEBUG)
    there = receiver(500)
    key = secret_key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    secret_url = there.url.replace("/hook", "/services/T0PSECRET")
    guarded = WebhookSettings("hook", secret_url, key=key, allow_private=True)
    with pytest.raises(RetryableError) as caught:
        WebhookChannel(guarded).send(notification_of())
    shown = f"{caplog.text}{guarded!r}{caught.value}"
    assert "T0PSECRET" not in shown
    assert "MfKQ9r8G" not in shown
    assert there.paths == ["/services/T0PSECRET"]


def test_retry_after_is_kept(receiver):
    """What a receiver asks for travels with the error; nonsense counts as nothing."""
    from ninesight_alerts.channel import _retry_after_s

    assert [_retry_after_s(text) for text in ("", "7", "99999", "Wed, 21 Oct 2026 07:28:00 GMT", "-1", "٣")] == [
        0, 7, 3600, 0, 0, 0,
    ]  # fmt: skip
