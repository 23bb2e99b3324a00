"""Draws the pictures of a study: variants side by side, and accuracy against the cost of a network."""

import itertools
from collections.abc import Mapping, Sequence

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from dsconv.reporting.figures import fonts

OURS, PUBLISHED = 'C0', '0.45'


def variants_figure(
    accuracies: Mapping[str, Sequence[float]], intervals: Mapping[str, Sequence[float]], title: str
) -> Figure:
    """Draws accuracies on the left, a dot per run and a line at the mean; on the right, differences from the first.

    `accuracies` is variant → percent of each run; `intervals` is variant → (low, high) of its difference, points.
    """
    names = list(accuracies)
    figure = Figure(figsize=(8.2, 1.3 + 0.34 * len(names)), dpi=90, layout='constrained')
    left, right = figure.subplots(1, 2, sharey=True)
    right.set_visible(len(names) > 1)
    for row, name in enumerate(names):
        values = accuracies[name]
        left.plot(values, [row] * len(values), 'o', color=OURS, alpha=0.45, markersize=5, markeredgewidth=0)
        if values:
            left.plot(sum(values) / len(values), row, '|', color='black', markersize=13, markeredgewidth=1.6)
        if row and name in intervals:
            low, high = intervals[name]
            right.plot([low, high], [row, row], color=OURS, linewidth=1.6)
            right.plot((low + high) / 2, row, 'o', color=OURS, markersize=5)
    right.axvline(0, color='0.6', linewidth=0.8, linestyle='--', zorder=0)
    left.set_yticks(range(len(names)), names, fontsize=9, parse_math=False, family=fonts())
    left.set_ylim(len(names) - 0.5, -0.5)
    left.set_xlabel('validation accuracy, %', fontsize=9)
    right.set_xlabel(f'points against {names[0]}, 95 % interval', fontsize=9, parse_math=False, family=fonts())
    for axes in (left, right):
        axes.tick_params(axis='y', length=0)
        axes.tick_params(axis='x', labelsize=8)
        axes.grid(axis='y', alpha=0.25)
        axes.spines[['top', 'right']].set_visible(False)
    figure.suptitle(title, fontsize=10, parse_math=False, family=fonts())
    return figure


def pareto_front(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Returns the points (cost, accuracy) that no other point dominates, by increasing cost."""
    front = []
    for cost, accuracy in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or accuracy > front[-1][1]:
            front.append((cost, accuracy))
    return front


def costs_figure(points: Sequence[dict], published: Sequence[dict], costs: Mapping[str, str], title: str) -> Figure:
    """Draws accuracy against each cost, on a logarithmic axis, with the Pareto front of our points.

    `points` have `name`, `accuracy` (percent), `std` (percentage points, or None) and the costs. `published` points
    have the same without `std`, and are drawn hollow. `costs` is key → label of its axis.
    """
    figure = Figure(figsize=(5.6 * len(costs), 4.8), dpi=90, layout='constrained')
    for axes, (cost, label) in zip(figure.subplots(1, len(costs), squeeze=False)[0], costs.items(), strict=True):
        front = pareto_front([(point[cost], point['accuracy']) for point in points])
        axes.plot(*zip(*front, strict=True), color=OURS, linewidth=1, alpha=0.6, label='Pareto front of these runs')
        for point in points:
            axes.errorbar(point[cost], point['accuracy'], point['std'], fmt='o', color=OURS, capsize=2, markersize=5)
        if published:
            style = {'facecolors': 'none', 'edgecolors': PUBLISHED, 's': 30}
            places = zip(*((point[cost], point['accuracy']) for point in published), strict=True)
            axes.scatter(*places, label='published test accuracy, original CIFAR-10, other recipes', **style)
        _name(axes, points, cost, 'black')
        _name(axes, published, cost, PUBLISHED)
        axes.set_xscale('log')
        axes.margins(x=0.2, y=0.1)
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(EngFormatter())
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.tick_params(axis='x', labelsize=8)
        axes.set_xlabel(label, fontsize=9)
        axes.grid(alpha=0.25)
        axes.spines[['top', 'right']].set_visible(False)
    first = figure.axes[0]
    bars = '; bars: standard deviation over seeds' if any(point['std'] is not None for point in points) else ''
    first.set_ylabel(f'validation accuracy, %{bars}', fontsize=9)
    figure.legend(*first.get_legend_handles_labels(), loc='outside lower center', ncols=2, frameon=False, fontsize=8)
    figure.suptitle(title, fontsize=10, parse_math=False, family=fonts())
    return figure


def _name(axes: Axes, points: Sequence[dict], cost: str, colour: str) -> None:
    """Labels each point at its right, away from the next point: below if the next point is higher, else above."""
    ordered = sorted(points, key=lambda point: point[cost])
    style = dict(textcoords='offset points', fontsize=7.5, color=colour, parse_math=False, family=fonts())
    for point, following in itertools.zip_longest(ordered, ordered[1:]):
        is_below = following is not None and following['accuracy'] > point['accuracy']
        axes.annotate(point['name'], (point[cost], point['accuracy']), (5, -11 if is_below else 5), **style)
