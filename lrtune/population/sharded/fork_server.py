"""A template process that forks workers: the task and its data are in its memory, and so in theirs, without a copy.

It does nothing but wait for requests. When its parent ends in whatever way, kill -9 included, the connection ends, and
it kills the workers, computing or not, and ends.
"""

from __future__ import annotations

import gc
import io
import os
import signal
import socket
import struct
import sys
import time
import warnings
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

from lrtune.population.sharded.private import keep_private

if TYPE_CHECKING:
    from collections.abc import Callable

_REQUEST = struct.Struct("!cq")  # what is asked for, and a process id
_ANSWER = struct.Struct("!q")  # a process id, or an error's number below 0
_FORK, _STOP, _WARM = b"F", b"S", b"W"
_PATIENCE = 2.0  # seconds for the template to end by itself: it may be reading the user's data
_POLL = 0.002


class ForkError(Exception):
    """No worker could be forked; says why."""


class ForkServer:
    """The template process, as its parent sees it.

    Args:
        serve: What a worker does with its connection until it ends.
        warm: What the template does when it is told to, so that workers forked later have it done.

    Raises:
        ForkError: If the system refuses another process.
    """

    def __init__(
        self, serve: Callable[[Connection], object], warm: Callable[[], object] = lambda: None
    ) -> None:
        self._control, theirs = socket.socketpair()
        keep_private(self._control)
        self._owner = os.getpid()
        try:
            self.pid = _forked(lambda: _Template(theirs, serve, warm).run())
        except OSError as error:
            self._control.close()
            raise ForkError(f"no further process can be started: {error.strerror}") from None
        finally:
            theirs.close()

    def warm(self) -> None:
        """Have the template do what all workers are to find done.

        Raises:
            ForkError: If the template is gone.
        """
        self._asked(_WARM)

    def fork(self) -> tuple[int, Connection]:
        """Return a new worker's process id and the connection to it.

        Raises:
            ForkError: If there is no memory or process left, or the template is gone.
        """
        ours, theirs = socket.socketpair()
        with theirs:
            try:
                pid = self._asked(_FORK, descriptors=(theirs.fileno(),))
            except ForkError:
                ours.close()
                raise
        connection = Connection(ours.detach())
        keep_private(connection)
        return pid, connection

    def stop(self, pid: int) -> None:
        """Kill a worker with all that it has started, and have nothing left of it; it may be dead already."""
        with suppress(ForkError):
            self._asked(_STOP, pid)

    def close(self) -> None:
        """End the template and all workers. In a child of the parent this does nothing."""
        if os.getpid() != self._owner or self._control.fileno() < 0:
            return
        self._control.close()
        deadline = time.monotonic() + _PATIENCE
        with suppress(ChildProcessError):
            while os.waitpid(self.pid, os.WNOHANG) == (0, 0):
                if time.monotonic() > deadline:
                    os.kill(self.pid, signal.SIGKILL)
                time.sleep(_POLL)

    def _asked(self, request: bytes, pid: int = 0, descriptors: tuple[int, ...] = ()) -> int:
        try:
            socket.send_fds(self._control, [_REQUEST.pack(request, pid)], descriptors)
            answer: int = _ANSWER.unpack(_read(self._control, _ANSWER.size))[0]
        except (OSError, EOFError, ValueError) as error:
            raise ForkError(f"the process that starts workers is gone ({error or 'killed'})") from None
        if answer < 0:
            raise ForkError(f"no further process can be started: {os.strerror(-answer)}")
        return answer


class _Template:
    """What runs in the template process."""

    def __init__(
        self, control: socket.socket, serve: Callable[[Connection], object], warm: Callable[[], object]
    ) -> None:
        self._control, self._serve, self._warm = control, serve, warm
        self._workers: set[int] = set()

    def run(self) -> None:
        keep_private(self._control)
        gc.freeze()  # a collection would write into the objects' headers, and so copy the pages that all share
        try:
            while True:
                self._answer()
        except (EOFError, OSError):
            for pid in list(self._workers):
                self._stop(pid)

    def _answer(self) -> None:
        message, descriptors, _, _ = socket.recv_fds(self._control, _REQUEST.size, 1)
        if not message:
            raise EOFError
        message += _read(self._control, _REQUEST.size - len(message))
        request, pid = _REQUEST.unpack(message)
        answer = 0
        if request == _FORK:
            answer = self._fork(descriptors[0])
        elif request == _STOP:
            self._stop(pid)
        elif request == _WARM:
            with suppress(Exception):  # the worker that reads the same data will tell
                self._warm()
            gc.freeze()
        self._control.sendall(_ANSWER.pack(answer))

    def _fork(self, descriptor: int) -> int:
        try:
            pid = _forked(lambda: self._serve(Connection(descriptor)))
        except OSError as error:
            return -(error.errno or 1)
        finally:
            os.close(descriptor)
        self._workers.add(pid)
        return pid

    def _stop(self, pid: int) -> None:
        if pid not in self._workers:
            return
        self._workers.discard(pid)
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)  # data loaders' workers too
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0)


def _forked(work: Callable[[], object]) -> int:
    """Run `work` in a forked child that then ends at once; return the child's process id."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(Exception):  # what waits in a buffer would be written twice
            stream.flush()
    with warnings.catch_warnings():
        # Python 3.12 and later warn of locks that another thread holds. The child uses no lock of anybody's: it
        # computes on one thread, has streams of its own (`_as_child`) and runs nothing at its end.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        with suppress(OSError):
            os.setpgid(pid, pid)
        return pid
    code = 1
    try:
        _as_child()
        work()
        code = 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
    finally:
        for stream in (sys.stdout, sys.stderr):
            with suppress(BaseException):
                stream.flush()
        os._exit(code)  # nothing of the parent's is run at the end: its handlers, its open `with` blocks


def _as_child() -> None:
    """Leave the terminal to the parent: its signals (Ctrl-C ends the workers by way of their connections), its bars.

    What the user's code prints goes to stderr, past whoever has replaced `sys.stdout` and holds locks on it.
    """
    with suppress(OSError):
        os.setpgid(0, 0)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for name in (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(name, signal.SIG_DFL)
    try:
        sys.stdout = sys.stderr = open(2, "w", buffering=1, errors="backslashreplace", closefd=False)  # noqa: SIM115
    except OSError:  # a daemon has none
        sys.stdout = sys.stderr = io.StringIO()
    warnings.showwarning = lambda *_, **__: None  # the parent, which runs the same code, has shown it


def _read(from_: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = from_.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data
