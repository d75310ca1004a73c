"""A local HTTP server that speaks Chat Completions and fails in all the ways that servers do.

    with ChatServer(script=[status(429, {"Retry-After": "1"}), broken_json]) as server:
        ...  # calls to server.base_url; the third and all after it are answered well

What happens to a call is a fault, or None for a good answer. Faults come from a script, in the
order in which calls arrive, or from a function of the call. The server keeps every call it got and
measures how many were under way at once.
"""

import contextlib
import dataclasses
import json
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable, Iterable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self


@dataclasses.dataclass
class Call:
    """What arrived, when, whether its answer was begun, and whether a whole good one was sent."""

    number: int
    path: str
    headers: dict[str, str]
    body: dict[str, Any]
    time: float
    left: bool = False
    answered: bool = False

    @property
    def asked(self) -> str:
        """The text of the last message."""
        return self.body["messages"][-1]["content"]


Fault = Callable[["_Handler", Call], None]


def echo(call: Call) -> str:
    return f"Reasoning: none.\nAction: do {call.asked}"


def completion(text: str | None, finish: str | None = "stop", usage=(10, 5), **message) -> dict:
    """A body as OpenAI's. `usage` None leaves the tokens out."""
    body = {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "tiny",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": text, **message},
                "finish_reason": finish,
            }
        ],
    }
    if usage is not None:
        body["usage"] = {
            "prompt_tokens": usage[0],
            "completion_tokens": usage[1],
            "total_tokens": sum(usage),
        }
    return body


def says(text: str | None, finish: str | None = "stop", usage=(10, 5), **message) -> Fault:
    """A good answer, with this text."""

    def act(handler, call):
        handler.send(200, json.dumps(completion(text, finish, usage, **message)).encode())
        call.answered = True

    return act


def status(number: int, headers: dict[str, str] | None = None, **error) -> Fault:
    """An error as OpenAI sends it: {"error": {"message": ..., "code": ...}}."""
    body = json.dumps({"error": {"message": f"status {number}", **error}}).encode()
    return lambda handler, call: handler.send(number, body, headers)


def body(content: bytes) -> Fault:
    """Status 200 and these bytes."""
    return lambda handler, call: handler.send(200, content)


broken_json = body(b'{"choices": [{"message": {"content": "Action: wro')
wrong_schema = body(b'{"object": "chat.completion", "answer": "Action: wrong"}')
html = body(b"<html><body>Bad gateway</body></html>")


def together(count: int) -> Fault:
    """Good answers, but only once `count` calls are under way."""
    barrier = threading.Barrier(count)

    def act(handler, call):
        barrier.wait(20)
        handler.answer(call, None)

    return act


def slow(seconds: float, then: Fault | None = None) -> Fault:
    """Waits, then goes on; an end of the server cuts the wait short."""

    def act(handler, call):
        handler.server.owner.stopping.wait(seconds)
        handler.answer(call, then)

    return act


def cut_body(handler, call) -> None:
    """A good body of which half is sent."""
    content = handler.good(call)
    handler.head(200, {"Content-Length": str(len(content))})
    handler.wfile.write(content[: len(content) // 2])
    handler.hang_up()


def cut_chunks(handler, call) -> None:
    """A good body in chunks, of which the last are missing."""
    content = handler.good(call)[:60]
    handler.head(200, {"Transfer-Encoding": "chunked"})
    handler.wfile.write(f"{len(content):x}\r\n".encode() + content + b"\r\n")
    handler.hang_up()


def drip(handler, call) -> None:
    """A good body, one byte at a time and ever more slowly than anyone would wait."""
    content = handler.good(call)
    handler.head(200, {"Content-Length": str(len(content))})
    for i in range(len(content)):
        handler.wfile.write(content[i : i + 1])
        handler.wfile.flush()
        if handler.server.owner.stopping.wait(0.03):
            break
    handler.hang_up()


def drop(handler, call) -> None:
    """Closes the connection without a word."""
    handler.hang_up()


def reset(handler, call) -> None:
    """Resets the connection."""
    linger_none = struct.pack("ii", 1, 0)
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger_none)
    handler.close_connection = True


class ChatServer:
    """The server, in threads of this process.

    Attributes:
      calls: all that arrived, in order.
      most_at_once: how many calls were under way together at most.
      errors: exceptions of the server's own, other than clients that went away.
    """

    def __init__(
        self,
        script: Iterable[Fault | None] = (),
        *,
        fault: Callable[[Call], Fault | None] = lambda call: None,
        reply: Callable[[Call], str] = echo,
        delay: float = 0.0,
    ):
        self.calls: list[Call] = []
        self.most_at_once = 0
        self.errors: list[BaseException] = []
        self.stopping = threading.Event()
        self.reply = reply
        self.delay = delay
        self._script = iter(script)
        self._fault = fault
        self._at_once = 0
        self._lock = threading.Lock()
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1"

    @property
    def answered(self) -> list[str]:
        """What was asked in the calls that were answered well."""
        return [call.asked for call in self.calls if call.answered]

    def arrive(self, path: str, headers: dict[str, str], content: bytes) -> tuple[Call, Any]:
        with self._lock:
            call = Call(len(self.calls), path, headers, json.loads(content), time.monotonic())
            self.calls.append(call)
            self._at_once += 1
            self.most_at_once = max(self.most_at_once, self._at_once)
            fault = next(self._script, self)
        return call, self._fault(call) if fault is self else fault

    def leave(self, call: Call) -> None:
        """The client may call again from here on."""
        with self._lock:
            self._at_once -= not call.left
            call.left = True

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_) -> None:
        self.stopping.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
        assert not self.errors, self.errors


class _Server(ThreadingHTTPServer):
    owner: ChatServer
    daemon_threads = False  # server_close waits for them, so no socket is left open
    request_queue_size = 256

    def __init__(self, *args):
        super().__init__(*args)
        self._open: set[socket.socket] = set()

    def process_request(self, request, client_address):
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request):
        self._open.discard(request)
        super().shutdown_request(request)

    def server_close(self):
        # Connections that clients keep open would be waited for.
        for connection in list(self._open):
            with contextlib.suppress(OSError):  # closed meanwhile
                connection.shutdown(socket.SHUT_RDWR)
        super().server_close()

    def handle_error(self, request, client_address):
        error = sys.exception()
        if not isinstance(error, ConnectionError):
            self.owner.errors.append(error)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1  # headers and body in one packet

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        headers["client"] = str(self.client_address[1])
        self.call, fault = self.server.owner.arrive(self.path, headers, content)
        try:
            self.server.owner.stopping.wait(self.server.owner.delay)
            self.answer(self.call, fault)
        finally:
            self.server.owner.leave(self.call)

    def answer(self, call: Call, fault: Fault | None) -> None:
        if fault is None:
            fault = says(self.server.owner.reply(call))
        fault(self, call)

    def good(self, call: Call) -> bytes:
        return json.dumps(completion(self.server.owner.reply(call))).encode()

    def head(self, code: int, headers: dict[str, str]) -> None:
        self.server.owner.leave(self.call)
        self.send_response(code)
        for name, value in {"Content-Type": "application/json", **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def send(self, code: int, content: bytes, headers: dict[str, str] | None = None) -> None:
        self.head(code, {"Content-Length": str(len(content)), **(headers or {})})
        self.wfile.write(content)
        self.wfile.flush()

    def hang_up(self) -> None:
        self.wfile.flush()
        self.close_connection = True

    def log_message(self, *args) -> None:
        """Nothing is printed."""
