"""Whether something touches the network."""

import contextlib
import socket
from collections.abc import Iterator
from unittest import mock


@contextlib.contextmanager
def untouched() -> Iterator[None]:
    """Any attempt to connect or to resolve a name fails the test, even where the code under test catches the error."""
    attempts = []
    connect = socket.socket.connect

    def refused(*args, **kwargs):
        attempts.append(args)
        raise OSError("the network was touched")

    def connect_locally(self, address):
        # processes on one machine talk through sockets too
        return connect(self, address) if self.family == socket.AF_UNIX else refused(address)

    with (
        mock.patch.object(socket.socket, "connect", connect_locally),
        mock.patch.object(socket, "getaddrinfo", refused),
    ):
        yield
    assert attempts == []
