"""The configuration file: every mistake is told with its key, the rule and the way out."""

import pytest
from ninesight_suite.address import listen, parse_address
from ninesight_suite.config import load_config
from ninesight_suite.errors import ConfigError, PortError
from ninesight_suite.yaml_file import read_mapping


def refusal(tmp_path, text):
    path = tmp_path / "ninesight.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    return str(caught.value)


def test_no_configuration_is_a_configuration():
    """Every key has a default: loopback addresses and an embedded store."""
    config = load_config(None)
    assert str(config.api_address) == "127.0.0.1:9901"
    assert str(config.pages_address) == "127.0.0.1:9900"
    assert config.api_address.loopback


def test_paths_start_at_the_files_folder(tmp_path):
    """A relative data_dir belongs beside the file that names it."""
    (tmp_path / "ninesight.yaml").write_text("data_dir: data\n")
    assert load_config(tmp_path / "ninesight.yaml").data_dir == tmp_path / "data"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("listn: 127.0.0.1:1", "listn: there is no such key; did you mean listen?"),
        ("listen: 127.0.0.1", "listen: an address must be host:port"),
        ("listen: 127.0.0.1:99999", "with a port from 0 to 65535, got '127.0.0.1:99999'"),
        ("store: {retention: -5}", "store.retention"),
        ("collector: {scrape: [{job: a}]}", "collector.scrape.0.targets: must be given"),
        (
            "collector: {scrape: [{jobb: a}]}",
            "collector.scrape.0.jobb: there is no such key; did you mean job?",
        ),
        ("listen: a:1\nlisten: b:2", "line 2: key 'listen' is given twice"),
        ("engine: {url: 'http://a:1'}\nquery: {}", "engine and query are two names for one section"),
        ("engine: {ulr: 'http://a:1'}", "query.ulr: there is no such key; did you mean url?"),
        ("collector: {keep: false}", "keep: false needs somewhere to send to"),
        ("collector: {remote_write: [{url: 'ftp://a'}]}", "remote_write.0.url: url must be an http or https"),
        (
            "collector: {remote_write: [{url: 'http://a:1/w'}, {url: 'http://a:1/x'}]}",
            "each remote_write needs a name of its own, got a:1",
        ),
        ("data_dir: 2026-99-99", "line 1, column 11: '2026-99-99' is not a valid timestamp"),
        ("- a", "must hold keys and values, got a list"),
        ("a: [", "line 1"),
    ],
)
def test_a_wrong_key_is_named(tmp_path, text, words):
    """The message holds the file, the key and what must hold."""
    message = refusal(tmp_path, text)
    assert words in message
    assert "ninesight.yaml" in message


def test_a_file_that_is_not_there_is_named(tmp_path):
    """The path is in the message."""
    with pytest.raises(ConfigError, match=r"absent\.yaml: cannot be read"):
        load_config(tmp_path / "absent.yaml")


def test_a_huge_file_is_refused_unread(tmp_path):
    """A configuration over 1 MiB is taken for a mistake."""
    path = tmp_path / "big.yaml"
    path.write_text("a: " + "x" * (2 << 20))
    with pytest.raises(ConfigError, match="at most 1048576 bytes"):
        read_mapping(path)


def test_yaml_tags_build_no_objects(tmp_path):
    """The file is data: a tag that would run code is refused."""
    path = tmp_path / "evil.yaml"
    path.write_text("data_dir: !!python/object/apply:os.getcwd []\n")
    with pytest.raises(ConfigError, match=r"evil\.yaml"):
        read_mapping(path)


def test_a_taken_port_is_told_before_anything_starts():
    """The message names the address and the key to change."""
    with listen(parse_address("127.0.0.1:0"), "listen") as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortError, match=rf"cannot listen on 127.0.0.1:{port}.*set pages_listen"):
            listen(parse_address(f"127.0.0.1:{port}"), "pages_listen")


@pytest.mark.parametrize(
    ("text", "keeps"),
    [
        ("", True),
        ("engine: {url: 'http://a:1'}", True),
        ("collector: {remote_write: [{url: 'http://a:1/w'}]}", True),
        ("engine: {url: 'http://a:1'}\ncollector: {remote_write: [{url: 'http://a:1/w'}]}", False),
        ("engine: {url: 'http://a:1'}\ncollector: {keep: true, remote_write: [{url: 'http://a:1/w'}]}", True),
        ("collector: {keep: false, remote_write: [{url: 'http://a:1/w'}]}", False),
    ],
)
def test_samples_are_kept_unless_they_are_sent_and_asked_elsewhere(tmp_path, text, keeps):
    """`engine` is another name of `query`; with both ways to another engine nothing is kept here, unless told so."""
    (tmp_path / "ninesight.yaml").write_text(text)
    config = load_config(tmp_path / "ninesight.yaml")
    assert config.keeps is keeps
    assert bool(config.query.url) is ("engine" in text)


def test_no_secret_of_a_sender_is_shown(tmp_path):
    """Neither a mistake nor the configuration's own text holds a header, a password or a token."""
    secrets = "password: pw-s3cret, username: u, headers: {X-A: h-s3cret}"
    (tmp_path / "ninesight.yaml").write_text(
        f"collector: {{remote_write: [{{url: 'http://a:1', {secrets}}}]}}"
    )
    assert "s3cret" not in repr(load_config(tmp_path / "ninesight.yaml"))
    wrong = "headers: {X-A: [h-s3cret]}, password: [pw-s3cret], bearer_token: {a: t-s3cret}"
    message = refusal(tmp_path, f"collector: {{remote_write: [{{url: 'http://a:1', {wrong}}}]}}")
    assert "headers.X-A" in message
    assert "s3cret" not in message
