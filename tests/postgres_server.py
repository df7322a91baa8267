"""A PostgreSQL server of a test's own, in a folder of its own, which can be stopped and started again."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from optuna.storages import RDBStorage
from sqlalchemy.pool import NullPool

_PLACES = "/usr/lib/postgresql"
_USER = "postgres"  # the server refuses to run as root


def programs() -> Path | None:
    """Return the folder that holds initdb and pg_ctl; None where there is none."""
    found = shutil.which("initdb")
    if found and (Path(found).resolve().parent / "pg_ctl").exists():
        return Path(found).resolve().parent
    versions = sorted(Path(_PLACES).glob("*/bin/initdb")) if Path(_PLACES).is_dir() else []
    return versions[-1].parent if versions else None


def lacking() -> str | None:
    """Return why no server can be started here; None where one can."""
    if programs() is None:
        return "PostgreSQL's initdb and pg_ctl are not installed"
    if os.geteuid() == 0 and shutil.which("setpriv") is None:
        return "the server refuses to run as root, and there is no setpriv"
    try:
        import psycopg  # noqa: F401
    except ImportError:
        return "psycopg is not installed"
    return None


class Server:
    """A server on a free port of this machine, with a password."""

    def __init__(self) -> None:
        found = programs()
        assert found is not None
        self._programs = found
        # Not pytest's folder, which other users may not enter.
        self._folder = Path(tempfile.mkdtemp(prefix="lrtune-postgres-"))
        self._data = self._folder / "data"
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        (self._folder / "password").write_text("s3cret")
        if os.geteuid() == 0:
            shutil.chown(self._folder, _USER, _USER)
            shutil.chown(self._folder / "password", _USER, _USER)
        self._run("initdb", "-D", str(self._data), "-U", "me", "-A", "scram-sha-256", "--no-sync",
                  f"--pwfile={self._folder / 'password'}")  # fmt: skip
        self.start()

    @property
    def url(self) -> str:
        """Where studies can be kept."""
        return f"postgresql+psycopg://me:s3cret@127.0.0.1:{self.port}/postgres"

    def opened(self) -> Any:
        """Return Optuna's storage of the studies, which leaves no connection open."""
        return RDBStorage(self.url, engine_kwargs={"poolclass": NullPool})

    def start(self) -> None:
        """Start the server, and wait for it."""
        options = f"-p {self.port} -k {self._folder} -c listen_addresses=127.0.0.1 -c fsync=off"
        self._run(
            "pg_ctl", "-D", str(self._data), "-l", str(self._folder / "log"), "-w", "-o", options, "start"
        )

    def stop(self) -> None:
        """Stop the server, breaking all connections."""
        self._run("pg_ctl", "-D", str(self._data), "-w", "-m", "fast", "stop")

    def remove(self) -> None:
        """Stop the server and remove what it kept."""
        try:
            self.stop()
        finally:
            shutil.rmtree(self._folder, ignore_errors=True)

    def _run(self, program: str, *arguments: str) -> None:
        user = (
            ["setpriv", f"--reuid={_USER}", f"--regid={_USER}", "--clear-groups"] if os.geteuid() == 0 else []
        )
        # A file, not a pipe: the server that pg_ctl leaves behind would hold a pipe open.
        with tempfile.TemporaryFile() as said:
            done = subprocess.run(
                [*user, str(self._programs / program), *arguments],
                cwd="/", stdout=said, stderr=said, check=False, timeout=120,
            )  # fmt: skip
            said.seek(0)
            assert done.returncode == 0, said.read().decode()
