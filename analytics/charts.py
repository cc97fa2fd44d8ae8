"""Charts as SVG that the server draws: bars of stacked parts, each with its table for those who do not see them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

BAR, GAP = 8, 2  # units across
HEIGHT = 100.0  # units upwards, for the highest bar
LABELS = 6  # at most, below the bars


@dataclass(frozen=True)
class Series:
    """One kind of part: its name in the legend and the CSS class that colours it."""

    name: str
    css: str


@dataclass(frozen=True)
class Bar:
    """One bar: a short `label` below it, a `title` in full, a number for each series, and the list behind it."""

    label: str
    title: str
    values: Sequence[int]
    link: str

    @property
    def total(self) -> int:
        return sum(self.values)


@dataclass(frozen=True)
class Part:
    css: str
    y: float
    height: float


@dataclass(frozen=True)
class Drawn:
    bar: Bar
    x: int
    parts: Sequence[Part]


@dataclass(frozen=True)
class StackedBars:
    """A chart for the template analytics/bars.html; `title` names it and `unit` what is counted, such as calls."""

    title: str
    head: str
    unit: str
    series: Sequence[Series]
    bars: Sequence[Bar]

    @property
    def highest(self) -> int:
        return max((bar.total for bar in self.bars), default=0)

    @property
    def width(self) -> int:
        return max(1, len(self.bars)) * (BAR + GAP)

    @property
    def height(self) -> float:
        return HEIGHT

    @property
    def bar_width(self) -> int:
        return BAR

    @property
    def description(self) -> str:
        """Say in a sentence what somebody sees at a glance."""
        total = sum(bar.total for bar in self.bars)
        top = max(self.bars, key=lambda bar: bar.total, default=None)
        if top is None or not total:
            return f"No {self.unit}."
        return f"{total:,} {self.unit} in {len(self.bars)} bars; most, {top.total:,}, {top.title}."

    @property
    def labels(self) -> list[str]:
        """Return the labels to show, evenly spread from the first bar to the last."""
        last = len(self.bars) - 1
        if last < LABELS:
            return [bar.label for bar in self.bars]
        return [self.bars[round(each * last / (LABELS - 1))].label for each in range(LABELS)]

    @property
    def drawn(self) -> Iterator[Drawn]:
        """Yield the bars with the places of their parts, the first series at the bottom."""
        scale = HEIGHT / max(1, self.highest)
        for number, bar in enumerate(self.bars):
            parts, top = [], HEIGHT
            for series, value in zip(self.series, bar.values, strict=True):
                height = value * scale
                top -= height
                if value:
                    parts.append(Part(series.css, round(top, 2), round(height, 2)))
            yield Drawn(bar, number * (BAR + GAP) + GAP // 2, parts)


def share(part: int, whole: int) -> float:
    """Return the length of a level bar in percent; a part that is not nothing can be seen."""
    return max(0.7, round(100 * part / whole, 2)) if part and whole else 0.0
