"""An event loop in a thread."""

import asyncio
import concurrent.futures
import threading

import pytest

from adapters.loop_thread import LoopThread


async def current():
    return asyncio.get_running_loop(), threading.current_thread().name


def test_one_loop_for_all_calls_in_a_thread_of_its_own():
    thread = LoopThread("one")
    first, second = thread.run(current()), thread.run(current())
    thread.close()
    assert first == second and first[1] == "one"
    assert first[0].is_closed()


def test_exceptions_come_out():
    async def fail():
        raise ZeroDivisionError("x")

    thread = LoopThread("fails")
    with pytest.raises(ZeroDivisionError):
        thread.run(fail())
    thread.close()


def test_closing_cancels_what_runs_and_awaits_the_last():
    events, waiting = [], threading.Event()

    async def wait():
        waiting.set()
        try:
            await asyncio.sleep(60)
        finally:
            events.append("cancelled")

    async def last():
        events.append("last")

    def run():
        with pytest.raises(concurrent.futures.CancelledError):
            thread.run(wait())

    thread = LoopThread("waits")
    thread.run(current())
    runner = threading.Thread(target=run)
    runner.start()
    assert waiting.wait(10)
    thread.close(last)
    runner.join(10)
    assert not runner.is_alive() and events == ["cancelled", "last"]


def test_closing_what_never_ran_does_nothing():
    thread = LoopThread("idle")
    thread.close(lambda: pytest.fail("awaited"))


def test_it_can_be_closed_from_within():
    thread = LoopThread("itself")

    async def close():
        thread.close()
        return threading.current_thread()

    inner = thread.run(close())
    inner.join(10)
    assert not inner.is_alive()
