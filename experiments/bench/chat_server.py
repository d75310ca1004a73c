"""A Chat Completions server that answers at once, always the same, and a client without frills.

    with serving() as base_url:
        ...

The server is a process of its own, `python -m experiments.bench.chat_server`, which prints its port
and ends when its standard input does, so also if whoever began it is killed.
"""

import asyncio
import contextlib
import json
import re
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator

ACTION = "Done!"
REPLY = f"Reasoning: there is no need to look.\nAction: {ACTION}"
_PATH = "/v1/chat/completions"
_HEAD_BYTES = 1 << 16  # of a request, at most
_BACKLOG = 1024  # connections that wait to be accepted


@contextlib.contextmanager
def serving() -> Iterator[str]:
    """The server's base_url, for as long as the `with` statement lasts.

    Raises:
      RuntimeError: the server did not begin, or ended badly.
    """
    command = [sys.executable, "-m", __name__]
    server = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with server:  # closes its standard input, and waits
        port = server.stdout.readline().strip()
        if not port:
            raise RuntimeError(f"the server did not begin: exit status {server.wait()}")
        yield f"http://127.0.0.1:{port}/v1"
    if server.returncode:
        raise RuntimeError(f"the server ended with exit status {server.returncode}")


async def call_plainly(base_url: str, body: bytes, calls: int, connections: int) -> list[bytes]:
    """The bodies of the answers to `calls` equal requests, over so many connections at once.

    Does nothing that HTTP does not ask for: what it reaches is about what the server can do.

    Raises:
      ExceptionGroup: of RuntimeError, if an answer is not status 200.
    """
    url = urllib.parse.urlsplit(base_url)
    head = f"POST {_PATH} HTTP/1.1\r\nHost: {url.netloc}\r\nContent-Type: application/json\r\n"
    request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
    left, answers = iter(range(calls)), []

    async def connection() -> None:
        reader, writer = await asyncio.open_connection(url.hostname, url.port)
        try:
            for _ in left:  # shared by all connections
                writer.write(request)
                answer_head, answer = await _message(reader)
                if b" 200 " not in answer_head.partition(b"\r\n")[0]:
                    raise RuntimeError(f"answer {answer_head!r}, expected status 200")
                answers.append(answer)
        finally:
            writer.close()
            await writer.wait_closed()

    async with asyncio.TaskGroup() as group:
        for _ in range(connections):
            group.create_task(connection())
    return answers


async def _message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """Head and body of the next request or answer."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = re.search(rb"content-length: *(\d+)", head, re.IGNORECASE)
    return head, await reader.readexactly(int(length[1]) if length else 0)


def _answer(status: str, body: object) -> bytes:
    content = json.dumps(body).encode()
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


_COMPLETION = _answer(
    "200 OK",
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "bench",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": REPLY},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 400, "completion_tokens": 15, "total_tokens": 415},
    },
)
_ELSEWHERE = _answer("404 Not Found", {"error": {"message": f"only POST {_PATH} is served"}})


async def _serve_connection(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):  # the client went
        while True:
            head, _ = await _message(reader)
            found = head.startswith(f"POST {_PATH} ".encode())
            writer.write(_COMPLETION if found else _ELSEWHERE)
            await writer.drain()
    writer.close()


async def _serve() -> None:
    server = await asyncio.start_server(
        _serve_connection, "127.0.0.1", 0, limit=_HEAD_BYTES, backlog=_BACKLOG
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    asyncio.run(_serve())
