"""Bar charts side by side: a panel for each quantity, a bar for each thing that was measured."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

MARKED, OTHER = 'C0', '#b8c4cf'


def grouped_bars(
    panels: Mapping[str, Mapping[str, float]], spreads: Mapping[str, Mapping[str, Sequence[float]]], marked: str
) -> Figure:
    """Draws horizontal bars, each with its value and a line over its spread; those of the name `marked` are coloured.

    `panels` and `spreads` are heading → name → value, and (least, most); all panels have the same names.
    """
    names = list(next(iter(panels.values())))
    figure = Figure(figsize=(1.6 + 3.2 * len(panels), 0.9 + 0.34 * len(names)), dpi=90, layout='constrained')
    colours = [MARKED if name == marked else OTHER for name in names]
    for axes, (heading, values) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        lengths = [values[name] for name in names]
        least, most = np.array([spreads[heading][name] for name in names]).T
        lines = {'xerr': [lengths - least, most - lengths], 'error_kw': {'lw': 0.8, 'capsize': 2}}
        bars = axes.barh(range(len(names)), lengths, 0.72, color=colours, **lines)
        labels = [f'{length:,.0f}' if length >= 10 else f'{length:.2g}' for length in lengths]
        axes.bar_label(bars, labels, padding=3, fontsize=8)
        axes.set_yticks(range(len(names)), names if axes.get_subplotspec().is_first_col() else [], fontsize=9)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.2 * max(most))
        axes.set_title(heading, fontsize=10)
        axes.locator_params(axis='x', nbins=5)
        axes.tick_params(axis='x', labelsize=8)
        axes.tick_params(axis='y', length=0)
        axes.spines[['top', 'right']].set_visible(False)
    return figure
