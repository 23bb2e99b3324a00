from matplotlib.colors import to_rgba

from dsconv.reporting.bars import MARKED, grouped_bars
from dsconv.reporting.figures import png


def test_bars_in_order_with_their_numbers():
    panels = {'train': {'ours': 200.0, 'theirs': 50.0}, 'inference': {'ours': 2000.0, 'theirs': 1.5}}
    spreads = {
        heading: {name: (0.9 * value, 1.1 * value) for name, value in values.items()}
        for heading, values in panels.items()
    }
    figure = grouped_bars(panels, spreads, marked='ours')
    train, inference = figure.axes
    assert [label.get_text() for label in train.get_yticklabels()] == ['ours', 'theirs']
    assert train.yaxis_inverted()
    assert [bar.get_width() for bar in inference.patches] == [2000, 1.5]
    assert [text.get_text() for text in train.texts + inference.texts] == ['200', '50', '2,000', '1.5']
    assert [axes.get_title() for axes in figure.axes] == ['train', 'inference']
    assert not any(label.get_text() for label in inference.get_yticklabels())
    colours = [bar.get_facecolor() for bar in train.patches]
    assert colours[0] != colours[1]
    assert colours[0] == to_rgba(MARKED)
    assert len(png(figure)) < 40_000
