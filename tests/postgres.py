"""A real PostgreSQL server of the tests' own: in a temporary folder, on a loopback port, gone afterwards."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import psycopg

from .ports import free_port

_ENCODED = "s3cret-Pa55%2Fword"


class PostgresServer:
    """Starts on construction; `url()` gives an address of a new, empty database."""

    password = "s3cret-Pa55/word"

    def __init__(self, binaries: Path):
        self.binaries = binaries
        self.folder = Path(tempfile.mkdtemp(prefix="ninesight-postgres-"))
        self.data = self.folder / "data"
        self.port = free_port()
        self._databases = 0
        self._as = _unprivileged()
        if self._as:
            user = pwd.getpwnam(self._as)
            os.chown(self.folder, user.pw_uid, user.pw_gid)
        password = self.folder / "password"
        password.write_text(self.password)
        password.chmod(0o644)
        self._run(
            "initdb", "--pgdata", self.data, "--username=keeper", "--auth=scram-sha-256", "--no-sync",
            "--encoding=UTF8", "--locale=C", f"--pwfile={password}",
        )  # fmt: skip
        self.process = None
        self.start()

    def start(self):
        """Start the server and wait until it answers."""
        self.process = self._launched()
        deadline = time.monotonic() + 60
        while True:
            try:
                self.connect("postgres").close()
                return
            except psycopg.OperationalError:
                assert time.monotonic() < deadline, "PostgreSQL did not start"
                if self.process.poll() is not None:
                    # After kill -9 the old server's children may outlive it for a moment.
                    log = (self.folder / "log").read_text()
                    assert "is still in use" in log[-2000:], log
                    self.process = self._launched()
                time.sleep(0.05)

    def _launched(self):
        # Processes are killed here, never the machine: what the server wrote survives them without fsync.
        options = ["-c", "fsync=off", "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        command = [self.binaries / "postgres", "-D", self.data, "-p", str(self.port), *options]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(self._prefix() + command, stdout=log, stderr=log, cwd="/")

    def stop(self, how=signal.SIGINT):
        """Stop it (fast shutdown) and wait."""
        self.process.send_signal(how)
        self.process.wait(60)

    def close(self):
        """Stop it and remove all it wrote."""
        if self.process.poll() is None:
            self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def connect(self, database):
        return psycopg.connect(
            host="127.0.0.1",
            port=self.port,
            user="keeper",
            password=self.password,
            dbname=database,
            autocommit=True,
        )

    def url(self, template="template0"):
        """Return the address of a new database, a copy of `template`."""
        self._databases += 1
        name = f"suite{self._databases}"
        with self.connect("postgres") as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return f"postgresql+psycopg://keeper:{_ENCODED}@127.0.0.1:{self.port}/{name}"

    def _run(self, name, *arguments):
        done = subprocess.run(
            [*self._prefix(), self.binaries / name, *arguments],
            capture_output=True,
            text=True,
            check=False,
            cwd="/",
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def _prefix(self):
        # The server refuses to run as root.
        if not self._as:
            return []
        return [
            "setpriv",
            f"--reuid={self._as}",
            f"--regid={pwd.getpwnam(self._as).pw_gid}",
            "--clear-groups",
        ]


def _unprivileged():
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
