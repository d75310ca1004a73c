"""Tells how far a job of several stages has come."""

import shutil
import time
from collections.abc import Mapping
from typing import TextIO

from experiments.main_job.child import Child


class Line:
    """The line that says what runs and how long it will take; lines about what has ended.

    On a terminal it is written over itself, elsewhere a new one is written now and then.
    """

    def __init__(self, expected: Mapping[str, float], stream: TextIO, every: float | None):
        """Starts the clock.

        Args:
          expected: about how many seconds each stage takes.
          stream: where to write.
          every: seconds between lines; if None 0.5 on a terminal, 30 elsewhere.
        """
        self._stream, self._on_terminal = stream, stream.isatty()
        self._every = every if every is not None else 0.5 if self._on_terminal else 30.0
        self._left, self._total, self._before = dict(expected), len(expected), 0
        self._expected = self._took = 0.0
        self._began = self._shown = time.monotonic()

    def say(self, text: str) -> None:
        """A line of its own."""
        clear = "\r\033[K" if self._on_terminal else ""
        self._stream.write(f"{clear}{text}\n")
        self._stream.flush()

    def passed_over(self, name: str) -> None:
        """The stage was done before."""
        del self._left[name]
        self._before += 1

    def done(self, name: str, seconds: float, peak_memory_mb: float) -> None:
        """The stage ran and is done."""
        self._expected += self._left.pop(name)
        self._took += seconds
        self.say(
            f"{name} is done, {clock(seconds)}, {peak_memory_mb:,.0f} MiB; "
            f"{self._total - len(self._left)} of {self._total} stages"
        )

    def show(self, running: Mapping[str, Child]) -> None:
        """The line as it stands, if it is time. The rest is taken to go as what went before."""
        now = time.monotonic()
        if not running or now - self._shown < self._every:
            return
        self._shown = now
        rate = self._took / self._expected if self._expected else 1.0
        left = sum(
            max(seconds * rate - (running[name].seconds if name in running else 0.0), 0.0)
            for name, seconds in self._left.items()
        )
        name, child = max(running.items(), key=lambda item: item[1].seconds)
        text = (
            f"{clock(now - self._began)}: {self._total - len(self._left)} of {self._total} stages, "
            f"about {clock(left / len(running))} left; {', '.join(running)} running; "
            f"{name}: {child.last_line()}"
        )
        if self._on_terminal:
            width = shutil.get_terminal_size().columns - 1
            self._stream.write(f"\r\033[K{text[:width]}")
            self._stream.flush()
        else:
            self.say(text)

    def end(self) -> None:
        """All are done."""
        took = clock(time.monotonic() - self._began)
        self.say(f"All {self._total} stages are done, {self._before} of them before; {took}.")


def clock(seconds: float) -> str:
    """Seconds as 0:07, 12:34 or 1:02:03."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
