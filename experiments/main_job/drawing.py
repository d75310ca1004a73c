"""How a picture is drawn once, and saved as PNG and as SVG that takes the page's colours."""

import io
import re
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIMULATED = "simulated, no result on SIF"
_DPI = 200
_NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


class Theme(NamedTuple):
    """Colours."""

    ink: str
    muted: str
    rule: str
    paper: str
    series: tuple[str, ...]


LIGHT = Theme(
    ink="#1b1f24",
    muted="#57606a",
    rule="#d0d7de",
    paper="#ffffff",
    series=("#0a5fa8", "#b7470b", "#0b7a5b", "#8a4b9e", "#8a6a00", "#57606a"),
)
# Colours that nothing else has, each to be replaced by a variable of the page.
_VARIABLES = Theme(
    ink="#010203",
    muted="#010204",
    rule="#010205",
    paper="#010206",
    series=tuple(f"#01030{i}" for i in range(6)),
)
_NAMES = {
    "#010203": "--ink",
    "#010204": "--muted",
    "#010205": "--rule",
    "#010206": "--paper",
    **{f"#01030{i}": f"--c{i}" for i in range(6)},
}

Draw = Callable[[Theme], "Figure"]


def installed() -> bool:
    """Whether there is matplotlib."""
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError:
        return False
    return True


def png(draw: Draw) -> bytes:
    """The picture on white."""
    return _saved(draw, LIGHT, format="png", dpi=_DPI, metadata={"Software": None})


def svg(draw: Draw, key: str, label: str) -> str:
    """The picture as an element for a page that has the variables --ink, --c0 and so on.

    Args:
      draw: makes it.
      key: unlike that of any other picture on the page.
      label: what those hear who do not see it.
    """
    saved = _saved(draw, _VARIABLES, format="svg", transparent=True, metadata=_NO_METADATA)
    text = saved.decode()
    text = text[text.index("<svg") :].rstrip()
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r' (id|xmlns:xlink|version)="([^"]*)"', _Renamed(key), text)
    text = re.sub(r'(xlink:href="#|url\(#)', rf"\1{key}-", text).replace("xlink:href", "href")
    for colour, variable in _NAMES.items():
        text = text.replace(colour, f"var({variable})")
    text = re.sub(r"font: ([\d.]+)px [^;\"]*", r"font-size: \1px", text)
    head, body = text.split(">", 1)
    head = re.sub(r' (width|height)="[^"]*"', "", head)
    return f'{head} role="img" aria-label="{_attribute(label)}">{body}'


def together(draws: Sequence[Callable[[Theme], "Figure"]]) -> bytes:
    """Some pictures as one PNG, side by side."""
    import numpy as np
    from matplotlib.image import imread, imsave

    images = [imread(io.BytesIO(png(draw))) for draw in draws]
    height = max(image.shape[0] for image in images)
    padded = [
        np.pad(image, ((0, height - image.shape[0]), (0, 0), (0, 0)), constant_values=image.max())
        for image in images
    ]
    content = io.BytesIO()
    imsave(content, np.concatenate(padded, axis=1), format="png", metadata={"Software": None})
    return content.getvalue()


class _Renamed:
    """Makes the ids of a picture its own, and drops what a page need not have."""

    def __init__(self, key: str):
        self._key = key

    def __call__(self, match: re.Match) -> str:
        return f' id="{self._key}-{match[2]}"' if match[1] == "id" else ""


def new_figure(theme: Theme, height: float) -> tuple["Figure", "Axes"]:
    """A figure of so many inches, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.8, height), layout="constrained")
    figure.get_layout_engine().set(rect=(0, 0, 1, 0.965))
    axes = figure.add_subplot()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color=theme.rule, lw=0.6)
    axes.set_axisbelow(True)
    return figure, axes


def _saved(draw: Draw, theme: Theme, **how: Any) -> bytes:
    """The picture in a file's format."""
    from matplotlib import rc_context

    settings = {
        "svg.fonttype": "none",
        "svg.hashsalt": "selfreg",
        "font.size": 9,
        "text.color": theme.ink,
        "axes.labelcolor": theme.ink,
        "axes.edgecolor": theme.rule,
        "xtick.color": theme.muted,
        "ytick.color": theme.muted,
        "axes.facecolor": "none",
        "figure.facecolor": theme.paper,
        "legend.labelcolor": theme.ink,
        "savefig.facecolor": theme.paper,
    }
    content = io.BytesIO()
    with rc_context(settings):
        figure = draw(theme)
        figure.text(0.995, 0.995, SIMULATED, ha="right", va="top", fontsize=6, color=theme.muted)
        figure.savefig(content, **how)
    return content.getvalue()


def _attribute(text: str) -> str:
    return text.replace("&", "&amp;").replace('"', "&quot;").replace("<", "&lt;")
