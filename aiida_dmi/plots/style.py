"""The look of every figure, and the files it becomes: PNG, SVG, PDF, and its data as CSV beside."""

from __future__ import annotations

import contextlib
import csv
import functools
import io
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from aiida_dmi.engine.errors import InputError
from aiida_dmi.engine.files.atomic import whole_file
from aiida_dmi.engine.quantities.registry import SYMBOLS
from aiida_dmi.text import comment, csv_text, one_line

if TYPE_CHECKING:
    # Not in the oldest matplotlib that this runs with.
    from matplotlib.typing import RcKeyType

FORMATS = ("png", "svg", "pdf")
TIMES = "$\\times$"
DOTS_PER_INCH = 200

# Okabe and Ito's colours, the light ones darkened: each has a contrast of 3 or more to white and to a dark page.
COLOURS = {
    "D": "#0072B2",
    "Q": "#D55E00",
    "D_1": "#3A86C8",
    "Q_1": "#00966E",
    "a_I": "#B8629B",
    "a_II": "#A87B00",
    "sum": "#00966E",
}
MARKERS = {"D": "s", "Q": "o", "D_1": "P", "Q_1": "X", "a_I": "^", "a_II": "D", "sum": "v"}
OTHERS = (("#5B4FB3", "p"), ("#2F7D78", "h"), ("#A0522D", "<"), ("#6E6E00", ">"))
"""Colours and markers of quantities that have none of their own, one after another."""
TOGETHER = {"sum": ("a(I)", "a(II)")}
"""Sums that figures draw, of symbols."""
GREEK = ("alpha", "beta", "gamma", "delta", "kappa", "lambda", "mu", "sigma", "tau", "chi", "omega")
"""Names of symbols that are letters."""
ALONE = "Wannier functions alone"
"""In legends: what numbers were before what the functions leave out was put back."""
NEUTRAL = "0.55"
"""Lines that are no data: visible on white and on black."""

PAPER: dict[RcKeyType, Any] = {
    "font.size": 9.0,
    "axes.titlesize": 8.5,
    "axes.linewidth": 0.8,
    "axes.labelsize": 9.5,
    "mathtext.fontset": "dejavusans",
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "xtick.major.width": 0.8,
    "ytick.major.width": 0.8,
    "legend.frameon": True,
    "legend.framealpha": 0.75,
    "legend.edgecolor": "none",
    "legend.fontsize": 8.5,
    "lines.linewidth": 1.3,
    "lines.markersize": 4.5,
}
DARK_PAGE, DARK_INK = "#15171A", "#E4E6E8"
DARK: dict[RcKeyType, Any] = {
    "figure.facecolor": DARK_PAGE,
    "axes.facecolor": DARK_PAGE,
    "savefig.facecolor": DARK_PAGE,
    "text.color": DARK_INK,
    "axes.edgecolor": DARK_INK,
    "axes.labelcolor": DARK_INK,
    "xtick.color": DARK_INK,
    "ytick.color": DARK_INK,
}
THEMES: dict[str, dict[RcKeyType, Any]] = {"light": PAPER, "dark": {**PAPER, **DARK}}


@dataclass
class Table:
    """The numbers of a figure.

    Parameters
    ----------
    columns : dict
        Heading with its unit, such as 'D_yx (meV angstrom per cell)', to one value a row.
    notes : list of str
        What the numbers belong to: temperature, direction, mesh, sign.
    """

    columns: dict[str, list[Any]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def add(self, rows: Mapping[str, Iterable[Any]]) -> None:
        """Append rows, given as columns; what is new to the table, or missing from the rows, is left empty."""
        new = {heading: list(np.asarray(values).tolist()) for heading, values in rows.items()}
        size = len(next(iter(self.columns.values()), []))
        more = max((len(values) for values in new.values()), default=0)
        for heading in [*self.columns, *(h for h in new if h not in self.columns)]:
            column = self.columns.setdefault(heading, [""] * size)
            column += new.get(heading, [""] * more)

    def write(self, path: Path) -> None:
        """As CSV; the notes go before it as lines that begin with #."""
        with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as handle:
            handle.writelines(f"{comment('#', ' '.join(note.split()))}\n" for note in self.notes)
            # Quoted, so that a name that begins with # is no note.
            writer = csv.writer(handle, quoting=csv.QUOTE_NONNUMERIC)
            writer.writerow(map(csv_text, self.columns))
            writer.writerows(map(csv_text, row) for row in zip(*self.columns.values(), strict=True))


class Plot(Figure):
    """A figure that carries its numbers.

    Attributes
    ----------
    table : Table
        What is drawn.
    caption : str
        One or two sentences for a page that shows the figure.
    """

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **{"layout": "constrained", **options})
        FigureCanvasAgg(self)
        self.table = Table()
        self.caption = ""

    def write(self, stem: Path, formats: Sequence[str] = ("png",)) -> list[Path]:
        """Files `stem`.png (.svg, .pdf) and `stem`.csv, each complete when it is there.

        Parameters
        ----------
        stem : Path
            Folder and name without an ending.
        formats : sequence of str
            From `FORMATS`.

        Returns
        -------
        list of Path
            What was written.
        """
        unknown = [suffix for suffix in formats if suffix not in FORMATS]
        if unknown:
            raise InputError(f"format: {', '.join(unknown)} was given, expected some of {', '.join(FORMATS)}")
        paths = [stem.with_name(f"{stem.name}.{suffix}") for suffix in (*formats, "csv")]
        for path in paths[:-1]:
            with whole_file(path) as temporary:
                temporary.write_bytes(self.rendered(path.suffix[1:]))
        self.table.write(paths[-1])
        return paths

    def rendered(self, suffix: str) -> bytes:
        """The picture in one of `FORMATS`; the same figure gives the same bytes, whenever it is drawn."""
        buffer = io.BytesIO()
        # Without a date, and with names of the parts of an SVG that do not come from chance.
        metadata = {"svg": {"Date": None}, "pdf": {"CreationDate": None}}.get(suffix, {})
        with mpl.rc_context({"svg.hashsalt": "aiida-dmi"}):
            self.savefig(buffer, format=suffix, dpi=DOTS_PER_INCH, metadata=metadata)
        return buffer.getvalue()


@contextlib.contextmanager
def theme(name: str = "light") -> Iterator[None]:
    """Figures made inside have the look of a paper ('light'), or that of a dark page ('dark')."""
    if name not in THEMES:
        raise InputError(f"theme: {name!r} was given, expected one of {', '.join(THEMES)}")
    with mpl.rc_context(THEMES[name]):
        yield


def drawn(function: Callable[..., Plot]) -> Callable[..., Plot]:
    """A function that draws: in the look of a paper, and in the colours of the theme in force."""

    @functools.wraps(function)
    def with_look(*args: Any, **options: Any) -> Plot:
        with mpl.rc_context(PAPER | {key: mpl.rcParams[key] for key in DARK}):
            return function(*args, **options)

    return with_look


def panels(
    titles: Sequence[str], width: float = 4.6, height: float = 3.5, letters: bool = True
) -> tuple[Plot, list[Axes]]:
    """A plot with one panel a title side by side, lettered (a), (b), ... where there are several."""
    plot = Plot(figsize=(width * len(titles), height))
    axes = [plot.add_subplot(1, len(titles), number) for number in range(1, len(titles) + 1)]
    if letters and len(titles) > 1:
        for letter, panel in zip("abcdefgh", axes, strict=False):
            panel.set_title(f"({letter})", loc="left")
    return plot, axes


def plain(text: str) -> str:
    """Text from elsewhere for a figure: in one line, and no formula of matplotlib's whatever stands in it."""
    return one_line(text).replace("$", r"\$")


def symbol(name: str, component: str, sign: float = 1.0, extra: str = "") -> str:
    """A quantity as it stands in the paper, such as $-Q_{yx}$.

    Parameters
    ----------
    name : str
        A quantity's, or of `TOGETHER`.
    component : str
        Such as 'yx'; '' of a scalar.
    sign : float
        Negative: with a minus.
    extra : str
        Plain text after it.
    """
    parts = TOGETHER.get(name) or (SYMBOLS.get(name, name),)
    return f"${'-' if sign < 0 else ''}{' + '.join(_formula(part, component) for part in parts)}${extra}"


def _formula(written: str, component: str) -> str:
    """'a(I)' as matplotlib's formula: a letter, or a name that TeX may know, with order and component."""
    base, _, part = written.rstrip(")").partition("(")
    name = base if len(base) == 1 else f"\\{base}" if base in GREEK else f"\\mathrm{{{base.replace('_', ' ')}}}"
    digits = part if part.isdigit() else rf"\mathrm{{{part}}}"
    order = f"^{{({digits})}}" if part else ""
    return f"{name}{order}_{{{component}}}" if component else f"{name}{order}"


def look(name: str) -> tuple[str, str]:
    """Colour and marker of a quantity."""
    if name in COLOURS:
        return COLOURS[name], MARKERS[name]
    others = [other for other in SYMBOLS if other not in COLOURS]
    return OTHERS[others.index(name) % len(OTHERS) if name in others else 0]


def unit(array: Any) -> str:
    """For an axis: 'meV Å per cell' from the attributes of an array of a result."""
    text = str(array.attrs["units"]).replace("angstrom", "$\\mathrm{\\AA}$").replace(" / ", "/").replace("^2", "$^2$")
    return f"{text} per cell" if array.attrs.get("per") == "cell" else text


def plain_unit(array: Any) -> str:
    """For a CSV heading: 'meV angstrom per cell'."""
    return f"{array.attrs['units']}{' per cell' if array.attrs.get('per') == 'cell' else ''}"


def series(
    axes: Axes,
    x: Any,
    values: Any,
    errors: Any,
    name: str,
    label: str,
    *,
    dashed: bool = False,
) -> None:
    """One quantity: line, markers, and a band of its error where it is known."""
    x, values, errors = (np.asarray(array, dtype=float) for array in (x, values, errors))
    order = np.argsort(x)
    x, values, errors = x[order], values[order], errors[order]
    colour, marker = look(name)
    axes.plot(
        x,
        values,
        marker=marker,
        linestyle="--" if dashed else "-",
        markerfacecolor=axes.get_facecolor() if dashed else colour,
        color=colour,
        label=label,
        clip_on=False,
        zorder=3,
    )
    if np.isfinite(errors).any():
        axes.fill_between(x, values - errors, values + errors, color=colour, alpha=0.25, linewidth=0)


def dotted(axes: Axes, x: Any, values: Any, name: str) -> None:
    """The same quantity before it was corrected: a dotted line in its colour; one entry of the legend for all."""
    x, values = (np.asarray(array, dtype=float) for array in (x, values))
    order = np.argsort(x)
    colour, _ = look(name)
    axes.plot(x[order], values[order], linestyle=":", color=colour, zorder=2)
    if ALONE not in axes.get_legend_handles_labels()[1]:
        axes.plot([], [], linestyle=":", color=NEUTRAL, label=ALONE)


def zero_line(axes: Axes) -> None:
    """A line at y = 0."""
    axes.axhline(0.0, color=NEUTRAL, linewidth=0.8, zorder=0)
