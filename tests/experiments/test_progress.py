"""The line that says how far work has come."""

import io

from experiments.progress import Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


def test_time_left_is_at_the_mean_rate():
    clock = Clock()
    progress = Progress("work", 4000, stream=io.StringIO(), clock=clock)
    assert progress.line() == "work: 0 of 4,000 (0.0%)"
    for _ in range(1000):
        progress.add()
    clock.now += 25.0
    assert progress.line("3 failed") == "work: 1,000 of 4,000 (25.0%), 3 failed, 1:15 left"
    clock.now += 4000.0
    assert progress.line().endswith("3:21:15 left")
    for _ in range(3000):
        progress.add()
    assert progress.line() == "work: 4,000 of 4,000 (100.0%), in 1:07:05"


def test_lines_come_from_time_to_time():
    clock, stream, asked = Clock(), io.StringIO(), []
    progress = Progress("work", 100, stream=stream, clock=clock, every=10.0)
    for _ in range(50):
        clock.now += 1.0
        progress.add(lambda: asked.append(clock.now) or "so far")
    assert stream.getvalue().count("so far, ") == len(asked) == 5
    assert stream.getvalue().startswith("work: 10 of 100 (10.0%), so far, 1:30 left\n")
    progress.end("stopped")
    assert stream.getvalue().endswith("work: 50 of 100 (50.0%), stopped, 0:50 left\n")


def test_on_a_terminal_the_line_is_written_over():
    clock, stream = Clock(), Terminal()
    progress = Progress("work", 2, stream=stream, clock=clock)
    clock.now += 1.0
    progress.add()
    progress.end()
    assert stream.getvalue() == (
        "\rwork: 1 of 2 (50.0%), 0:01 left\033[K\rwork: 1 of 2 (50.0%), 0:01 left\033[K\n"
    )
