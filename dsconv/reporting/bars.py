"""Bars beside each other: one panel for each quantity, a bar for each thing that was measured."""

from collections.abc import Mapping, Sequence

from matplotlib.figure import Figure

MARKED, OTHER = 'C0', '#b8c4cf'


def grouped_bars(
    panels: Mapping[str, Mapping[str, float]], spreads: Mapping[str, Mapping[str, Sequence[float]]], marked: str
) -> Figure:
    """Horizontal bars, the first on top, each with its number and a line over its spread.

    Args:
      panels: heading → name → value; all panels have the same names, which stand at the left of the first.
      spreads: heading → name → (least, most).
      marked: the name whose bars have a colour.
    """
    names = list(next(iter(panels.values())))
    size = (1.6 + 3.2 * len(panels), 0.9 + 0.34 * len(names))
    figure = Figure(figsize=size, dpi=90, layout='constrained')
    for axes, (heading, values) in zip(figure.subplots(1, len(panels), squeeze=False)[0], panels.items(), strict=True):
        lengths, ends = [values[name] for name in names], [spreads[heading][name] for name in names]
        beyond = [
            [length - least for length, (least, _) in zip(lengths, ends, strict=True)],
            [most - length for length, (_, most) in zip(lengths, ends, strict=True)],
        ]
        colours = [MARKED if name == marked else OTHER for name in names]
        axes.barh(range(len(names)), lengths, 0.72, color=colours, xerr=beyond, error_kw={'lw': 0.8, 'capsize': 2})
        room = max(most for _, most in ends)
        for row, (length, (_, most)) in enumerate(zip(lengths, ends, strict=True)):
            text = f'{length:,.0f}' if length >= 10 else f'{length:.2g}'
            axes.text(max(length, most) + 0.02 * room, row, text, va='center', fontsize=8)
        axes.set_yticks(range(len(names)), names if axes.get_subplotspec().is_first_col() else [], fontsize=9)
        axes.invert_yaxis()
        axes.set_xlim(0, 1.2 * room)
        axes.set_title(heading, fontsize=10)
        axes.locator_params(axis='x', nbins=5)
        axes.tick_params(axis='x', labelsize=8)
        axes.tick_params(axis='y', length=0)
        axes.spines[['top', 'right']].set_visible(False)
    return figure
