"""Servers that take connections and then hang, as a stopped machine or a bad network does."""

import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread

SSL_REQUEST = 80877103
# AuthenticationOk, what libpq wants to know of the server, ReadyForQuery.
SETTINGS = {"server_version": "18.0", "client_encoding": "UTF8", "standard_conforming_strings": "on"}


def _message(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("!i", len(body) + 4) + body


def _welcome() -> bytes:
    settings = [_message(b"S", f"{name}\0{value}\0".encode()) for name, value in SETTINGS.items()]
    return b"".join([_message(b"R", struct.pack("!i", 0)), *settings, _message(b"Z", b"I")])


@contextmanager
def mute_server(*, signs_in: bool) -> Iterator[tuple[int, list[socket.socket]]]:
    """Yield the port of a server that never answers a query, and the connections it took.

    With `signs_in` it greets its clients as PostgreSQL does, otherwise it does not say a word.
    """
    taken: list[socket.socket] = []
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            taken.append(client)
            if signs_in:
                _greet(client)

    thread = Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield listener.getsockname()[1], taken
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
        for client in taken:
            client.close()


def _greet(client: socket.socket) -> None:
    length, code = struct.unpack("!ii", client.recv(8, socket.MSG_WAITALL))
    if code == SSL_REQUEST:
        client.sendall(b"N")
        length, _ = struct.unpack("!ii", client.recv(8, socket.MSG_WAITALL))
    client.recv(length - 8, socket.MSG_WAITALL)
    client.sendall(_welcome())
