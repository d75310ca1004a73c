"""An asyncio event loop in a thread of its own, for code that is asynchronous only inside."""

import asyncio
import os
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class LoopThread:
    """Runs coroutines in one event loop and waits for them, from any thread, also from one whose
    own event loop is running, as in a notebook. What belongs to a loop, such as open connections,
    is kept from one call to the next.

    The thread starts with the first coroutine. Not for use on the other side of a fork.
    """

    def __init__(self, name: str):
        self._name = name
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """What the coroutine returns or raises. An interruption while waiting (Ctrl-C) cancels it.

        Raises:
          RuntimeError: called in another process than the one that made it.
        """
        if os.getpid() != self._owner:
            coroutine.close()
            raise RuntimeError(f"{self._name}: made in another process; make one in this process")
        future = asyncio.run_coroutine_threadsafe(coroutine, self._started())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self, last: Callable[[], Coroutine[Any, Any, None]] | None = None) -> None:
        """Cancels what is running, awaits `last()` if a loop was ever started, ends the thread."""
        with self._lock:
            loop, thread = self._loop, self._thread
            self._loop = self._thread = None
        if loop is None or thread is None or os.getpid() != self._owner:
            return
        ended = asyncio.run_coroutine_threadsafe(_wind_up(loop, last), loop)
        ended.add_done_callback(lambda _: loop.call_soon_threadsafe(loop.stop))
        # Garbage collection may close it from within its own thread, which cannot wait for itself.
        if threading.current_thread() is not thread:
            thread.join()
            ended.result()

    def _started(self) -> asyncio.AbstractEventLoop:
        with self._lock:
            if self._loop is None:
                self._loop = asyncio.new_event_loop()
                # A daemon, so that a program that forgot to close can end.
                self._thread = threading.Thread(
                    target=_serve, args=(self._loop,), name=self._name, daemon=True
                )
                self._thread.start()
            return self._loop


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    try:
        loop.run_forever()
    finally:
        loop.close()


async def _wind_up(
    loop: asyncio.AbstractEventLoop, last: Callable[[], Coroutine[Any, Any, None]] | None
) -> None:
    tasks = asyncio.all_tasks(loop) - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    if last is not None:
        await last()
    await loop.shutdown_asyncgens()
    await loop.shutdown_default_executor()
