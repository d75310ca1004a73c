"""A page of HTML in one file: tables, figures, words. Nothing is loaded, nothing is run."""

import html
from collections.abc import Sequence
from typing import NamedTuple

_CSS = """
:root { color-scheme: light dark;
  --paper: #ffffff; --ink: #1b1f24; --muted: #57606a; --rule: #d0d7de; --tint: #f3f5f8;
  --note: #fff4d6; --good: #116a34; --bad: #a3290b;
  --c0: #0a5fa8; --c1: #b7470b; --c2: #0b7a5b; --c3: #8a4b9e; --c4: #8a6a00; --c5: #57606a; }
@media (prefers-color-scheme: dark) { :root {
  --paper: #14171c; --ink: #e6e9ee; --muted: #a2abb6; --rule: #3a424d; --tint: #1d2229;
  --note: #3a3114; --good: #6fd08c; --bad: #ff9a7a;
  --c0: #6db5f5; --c1: #ff9d66; --c2: #58d0a9; --c3: #d59be8; --c4: #e3c14d; --c5: #a2abb6; } }
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 66rem; background: var(--paper);
  color: var(--ink); font: 1rem/1.5 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: .5rem 0; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .5rem; padding-top: .5rem;
  border-top: 1px solid var(--rule); }
p, li, dd { max-width: 46rem; }
a { color: var(--c0); }
.note { background: var(--note); padding: .5rem .75rem; border-radius: .4rem; }
.lead { font-size: 1.1rem; }
.muted, figcaption, caption { color: var(--muted); }
figure { margin: 1rem 0; min-width: 0; max-width: 38rem; }
figcaption { font-size: .9rem; max-width: 46rem; }
figure svg { width: 100%; height: auto; display: block; }
.panels { display: grid; gap: 0 1.5rem; grid-template-columns: 1fr; }
@media (min-width: 46rem) { .panels { grid-template-columns: 1fr 1fr; }
  .panels > .first { grid-column: 1 / -1; max-width: 46rem; } }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: .92rem; }
caption { text-align: left; padding-bottom: .4rem; font-size: .95rem; }
caption span { display: inline-block; position: sticky; left: 0; max-width: min(46rem, 92vw); }
th, td { padding: .25rem .6rem; text-align: right; vertical-align: top; white-space: nowrap; }
th[scope=row], th:first-child, .text { text-align: left; }
.text { white-space: normal; min-width: 9rem; }
thead th { border-bottom: 2px solid var(--rule); vertical-align: bottom; }
thead th[scope=colgroup] { border-bottom: 1px solid var(--rule); text-align: center; }
tbody th { font-weight: normal; }
tbody th.group { font-weight: 600; padding-top: .7rem; text-align: left; }
tbody tr:nth-child(even) td, tbody tr:nth-child(even) th:not(.group) { background: var(--tint); }
.interval { color: var(--muted); font-size: .85em; }
.good { color: var(--good); font-weight: 600; } .bad { color: var(--bad); font-weight: 600; }
@media (max-width: 40rem) { table { font-size: .85rem; } th, td { padding: .2rem .4rem; }
  tbody th[scope=row] { position: sticky; left: 0; white-space: normal; min-width: 7.5rem;
    background: var(--paper); } }
dt { font-weight: 600; margin-top: .5rem; } dd { margin-left: 1rem; }
footer { margin-top: 3rem; color: var(--muted); font-size: .9rem; }
@media print { body { max-width: none; } .scroll { overflow: visible; } }
"""


class Safe(str):
    """HTML as it stands; any other text is escaped."""


class Column(NamedTuple):
    """Of a table.

    Attributes:
      name: its heading.
      group: a heading over neighbouring columns of the same group; none if empty.
      text: it holds words, which may wrap, in place of numbers.
    """

    name: str
    group: str = ""
    text: bool = False


def escape(text: str) -> Safe:
    """The text as HTML."""
    return text if isinstance(text, Safe) else Safe(html.escape(text))


def interval(middle: str, low_high: str | None) -> Safe:
    """A number with its interval after it, in small."""
    if low_high is None:
        return escape(middle)
    return Safe(f'{escape(middle)} <span class="interval">{escape(low_high)}</span>')


def table(
    caption: str, columns: Sequence[Column], rows: Sequence[tuple[str, Sequence[str]] | str]
) -> Safe:
    """A table.

    Args:
      caption: of it.
      columns: the first one is that of the rows' names.
      rows: name and cells; a text alone is a heading over the rows after it.
    """
    parts = [
        f"<caption><span>{escape(caption)}</span></caption>",
        "<thead>",
        *_head(columns),
        "</thead>",
    ]
    parts.append("<tbody>")
    for row in rows:
        if isinstance(row, str):
            parts.append(
                f'<tr><th class="group" colspan="{len(columns)}" scope="rowgroup">'
                f"{escape(row)}</th></tr>"
            )
            continue
        name, cells = row
        if len(cells) != len(columns) - 1:
            raise ValueError(f"row {name!r} has {len(cells)} cells, expected {len(columns) - 1}")
        line = [f'<tr><th scope="row"{_kind(columns[0])}>{escape(name)}</th>']
        for cell, column in zip(cells, columns[1:], strict=True):
            line.append(f"<td{_kind(column)}>{escape(cell)}</td>")
        parts.append("".join(line) + "</tr>")
    label = html.escape(caption, quote=True)
    return Safe(
        f'<div class="scroll" role="region" tabindex="0" aria-label="{label}"><table>\n'
        + "\n".join(parts)
        + "\n</tbody></table></div>"
    )


def _head(columns: Sequence[Column]) -> list[str]:
    names = "".join(
        f'<th scope="col"{_kind(column)}>{escape(column.name)}</th>' for column in columns
    )
    if not any(column.group for column in columns):
        return [f"<tr>{names}</tr>"]
    groups, i = [], 0
    while i < len(columns):
        j = i
        while j < len(columns) and columns[j].group == columns[i].group:
            j += 1
        if columns[i].group:
            groups.append(f'<th scope="colgroup" colspan="{j - i}">{escape(columns[i].group)}</th>')
        else:
            groups.append(f'<td colspan="{j - i}"></td>')
        i = j
    return [f"<tr>{''.join(groups)}</tr>", f"<tr>{names}</tr>"]


def _kind(column: Column) -> str:
    return ' class="text"' if column.text else ""


def figure(picture: str | None, caption: str, *, first: bool = False) -> Safe:
    """A figure of an SVG, or a note that there is none; the first of some panels may be larger."""
    shown = picture or '<p class="note">No picture: matplotlib is not installed.</p>'
    kind = ' class="first"' if first else ""
    return Safe(f"<figure{kind}>{shown}<figcaption>{escape(caption)}</figcaption></figure>")


def panels(figures: Sequence[Safe]) -> Safe:
    """Figures side by side where there is room."""
    return Safe('<div class="panels">' + "\n".join(figures) + "</div>")


def paragraph(text: str, kind: str = "") -> Safe:
    """A paragraph, perhaps of a class."""
    shown = f' class="{kind}"' if kind else ""
    return Safe(f"<p{shown}>{escape(text)}</p>")


def section(name: str, heading: str, parts: Sequence[Safe]) -> Safe:
    """A part of the page with a heading."""
    body = "\n".join(parts)
    return Safe(
        f'<section id="{name}" aria-labelledby="{name}-h">'
        f'<h2 id="{name}-h">{escape(heading)}</h2>\n{body}\n</section>'
    )


def page(title: str, parts: Sequence[Safe], footer: str) -> str:
    """The whole document."""
    body = "\n".join(parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n"
        # An empty icon: browsers ask for one else.
        f'<link rel="icon" href="data:,">\n<style>{_CSS}</style>\n</head>\n<body>\n<main>\n'
        f"<h1>{escape(title)}</h1>\n{body}\n</main>\n<footer>{escape(footer)}</footer>\n"
        "</body>\n</html>\n"
    )
