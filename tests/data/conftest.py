import socket

import pytest


@pytest.fixture
def no_network(monkeypatch):
    """Any attempt to connect or to resolve a name fails the test, even where the code under test catches the error."""
    attempts = []
    connect = socket.socket.connect

    def refused(*args, **kwargs):
        attempts.append(args)
        raise OSError("the network was touched")

    def connect_locally(self, address):
        # processes on one machine talk through sockets too
        return connect(self, address) if self.family == socket.AF_UNIX else refused(address)

    monkeypatch.setattr(socket.socket, "connect", connect_locally)
    monkeypatch.setattr(socket, "getaddrinfo", refused)
    yield
    assert attempts == []
