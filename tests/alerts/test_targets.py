"""Where a webhook may go."""

import pytest
from ninesight_alerts import ReceiverError, TargetError
from ninesight_alerts.targets import allowed_addresses, check_url

ALWAYS_REFUSED = [
    "169.254.169.254", "169.254.1.1", "100.100.100.200", "168.63.129.16", "192.0.0.192", "0.0.0.0", "224.0.0.1",
    "255.255.255.255", "240.0.0.1", "::", "fe80::1", "ff02::1", "fd00:ec2::254", "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe", "2002:a9fe:a9fe::1", "fe80::1%eth0",
]  # fmt: skip
PRIVATE = [
    "127.0.0.1",
    "::1",
    "10.0.0.1",
    "192.168.1.1",
    "172.16.0.1",
    "100.64.0.1",
    "fd12::1",
    "::ffff:10.0.0.1",
]


@pytest.mark.parametrize("address", ALWAYS_REFUSED)
def test_some_addresses_are_refused_always(address):
    """Metadata, link-local, multicast, unspecified and reserved, however they are wrapped."""
    with pytest.raises(TargetError, match="must not be a"):
        allowed_addresses("evil.example", 80, allow_private=True, resolver=lambda *_: [address])


@pytest.mark.parametrize("address", PRIVATE)
def test_private_addresses_need_allow_private(address):
    """Loopback and private ones are refused unless the receiver says so."""
    with pytest.raises(TargetError, match="set allow_private: true if that is meant"):
        allowed_addresses("inside.example", 80, allow_private=False, resolver=lambda *_: [address])
    assert allowed_addresses("inside.example", 80, allow_private=True, resolver=lambda *_: [address]) == [
        address
    ]


def test_one_bad_address_refuses_the_host():
    """A name that mixes good and bad addresses is an attack or a mistake."""
    with pytest.raises(TargetError):
        allowed_addresses("x.example", 443, allow_private=False, resolver=lambda *_: ["1.1.1.1", "10.0.0.1"])
    assert allowed_addresses("x.example", 443, allow_private=False, resolver=lambda *_: ["1.1.1.1"]) == [
        "1.1.1.1"
    ]


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("ftp://a.example/", "must begin with http:// or https://, got ftp"),
        ("a.example", "got no scheme"),
        ("http:///x", "must name a host"),
        ("http://a.example:99999/", "must be a valid URL"),
        ("http://a.example:0/", "a port from 1 on"),
        ("http://[::1", "must be a valid URL"),
        ("http://user:hunter2@a.example/", "must not hold a user or password"),
        ("http://169.254.169.254/latest", "cloud metadata"),
        ("http://127.0.0.1/", "allow_private"),
    ],
)
def test_a_url_must_be_usable(url, says):
    """The error says what must hold, and shows no password."""
    with pytest.raises(ReceiverError) as caught:
        check_url(url, allow_private=False)
    assert says in str(caught.value)
    assert "hunter2" not in str(caught.value)


def test_a_good_url_passes():
    """A name is judged when it is resolved, a literal address at once."""
    check_url("https://hooks.example/T0/secret", allow_private=False)
    check_url("http://127.0.0.1:9/x", allow_private=True)
