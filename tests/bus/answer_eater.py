import socket
import threading
from contextlib import suppress


class AnswerEater:
    """A TCP proxy that can swallow the answer to the next request holding a given word, and hang up: the request
    itself reaches the server."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.eat_after: bytes | None = None
        self.refuse_afterwards = False  # be away after having eaten an answer
        self.refusing = False
        self.eaten = 0
        self._sockets: list[socket.socket] = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                if self.refusing:
                    client.close()
                    continue
                server = socket.create_connection(self._target)
                self._sockets += [client, server]
                threading.Thread(target=self._serve, args=(client, server), daemon=True).start()

    def _serve(self, client: socket.socket, server: socket.socket) -> None:
        """Strictly request, answer, request: that is how the clients under test speak."""
        eating = threading.Event()
        threading.Thread(target=self._answers, args=(client, server, eating), daemon=True).start()
        with suppress(OSError):
            while request := client.recv(1 << 20):
                if self.eat_after is not None and self.eat_after in request:
                    self.eat_after = None
                    eating.set()
                server.sendall(request)
        with suppress(OSError):
            server.shutdown(socket.SHUT_RDWR)

    def _answers(self, client: socket.socket, server: socket.socket, eating: threading.Event) -> None:
        with suppress(OSError):
            while answer := server.recv(1 << 20):
                if eating.is_set():
                    self.eaten += 1
                    self.refusing = self.refuse_afterwards
                    client.shutdown(socket.SHUT_RDWR)
                    return
                client.sendall(answer)
