"""Tables as markdown that reads well as plain text too."""

from collections.abc import Sequence


def table(titles: Sequence[str], rows: Sequence[Sequence[str]], right: Sequence[int] = ()) -> str:
    """A markdown table with columns of equal width; empty without rows.

    Args:
      titles: [C].
      rows: [N][C] texts.
      right: the columns that are aligned to the right.
    """
    if not rows:
        return ""
    widths = [max(map(len, column)) for column in zip(titles, *rows, strict=True)]
    rule = ["-" * (w - 1) + ":" if i in right else "-" * w for i, w in enumerate(widths)]

    def line(texts: Sequence[str]) -> str:
        padded = [
            text.rjust(w) if i in right else text.ljust(w)
            for i, (text, w) in enumerate(zip(texts, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    return "\n".join(map(line, (titles, rule, *rows)))
