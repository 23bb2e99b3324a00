import io
import warnings

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image

from dsconv.reporting import figures


def pixels(figure):
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].astype(int)


def saved(figure):
    return np.asarray(Image.open(io.BytesIO(figures.png(figure))).convert('RGB')).astype(int)


def texts(labels):
    return [label.get_text() for label in labels]


def random_counts(classes):
    rng = np.random.default_rng(classes)
    return rng.poisson(1.0, (classes, classes)) + 900 * np.eye(classes, dtype=int)


def test_confusion_matrix_prints_rows_as_true_classes_coloured_by_their_share():
    figure = figures.confusion_matrix([[90, 10, 0], [0, 5, 5], [0, 0, 0]], ['a', 'b', 'c'], 'title')
    axes, image = figure.axes[0], pixels(figure)
    numbers = {tuple(map(int, text.get_position()[::-1])): text.get_text() for text in axes.texts}
    assert numbers == {(0, 0): '90', (0, 1): '10', (1, 1): '5', (1, 2): '5'}
    assert axes.get_ylabel() == 'true class' and texts(axes.get_yticklabels()) == ['a', 'b', 'c']
    assert axes.yaxis_inverted()  # the first class on top

    def brightness(row, column):
        """Of a cell near its corner, where no number is."""
        x, y = axes.transData.transform((column - 0.4, row - 0.4))
        return image[image.shape[0] - int(y), int(x)].sum()

    assert brightness(0, 0) < brightness(1, 1) < brightness(0, 1) < brightness(0, 2)
    assert brightness(1, 1) == brightness(1, 2)
    assert brightness(2, 2) == brightness(0, 2)  # no examples: nothing, not 0 / 0


@pytest.mark.parametrize('classes', [30, 100])
def test_confusion_matrix_is_readable(classes):
    names = [f'a name of quite some length, Nº {index}' for index in range(classes)]
    figure = figures.confusion_matrix(random_counts(classes), names, 'test: 10,000 examples, accuracy 95.02 %')
    assert bool(figure.axes[0].texts) == (classes <= 30)
    image = pixels(figure)
    for labels in (figure.axes[0].get_xticklabels(), figure.axes[0].get_yticklabels()):
        assert 2 <= len(labels) <= 30
        boxes = [label.get_window_extent() for label in labels]
        assert not any(boxes[index].overlaps(boxes[index + 1]) for index in range(len(boxes) - 1))
        assert all(box.x0 >= 0 and box.y0 >= 0 and box.x1 <= image.shape[1] for box in boxes)
    assert len(set(texts(labels))) == len(labels)  # cut names still differ


def test_any_character_may_stand_in_a_name():
    with warnings.catch_warnings():
        warnings.simplefilter('error')
        saved(figures.confusion_matrix(random_counts(4), ['$x_{$', '猫', 'собака', 'très'], '$x_{$'))
        saved(figures.predictions(np.zeros((1, 8, 8, 3), np.uint8), [figures.prediction_caption('$x_{$', '猫', 0.5)]))


def test_curves_draw_a_line_for_each_split():
    metrics = [
        {'epoch': epoch, 'split': 'train', 'loss': 4 - epoch, 'accuracy': epoch / 4, 'learning_rate': 0.1}
        for epoch in (1.0, 2.0, 3.0)
    ]
    metrics[1]['loss'] = None
    metrics.append({'epoch': 3.0, 'split': 'test', 'loss': 2.0, 'accuracy': 0.5})
    loss, accuracy, learning_rate = figures.curves(metrics).axes
    assert [line.get_label() for line in loss.lines] == ['train', 'test']
    np.testing.assert_array_equal(loss.lines[0].get_xydata(), [[1, 3], [2, np.nan], [3, 1]])
    np.testing.assert_array_equal(loss.lines[1].get_xydata(), [[3, 2]])
    assert loss.lines[1].get_marker() == 'o'  # a single point would not be seen otherwise
    assert texts(accuracy.get_legend().get_texts()) == ['train', 'test']
    assert [line.get_label() for line in learning_rate.lines] == ['train']
    legends = [axes.get_legend().get_title().get_text() for axes in (loss, accuracy, learning_rate)]
    assert ['on augmented images' in text for text in legends] == [True, True, False]
    figure = figures.curves([{'epoch': 1.0, 'split': 'test', 'loss': None, 'accuracy': 0.5}])
    assert [len(axes.lines) for axes in figure.axes] == [0, 1, 0]


def test_mistakes_show_grey_and_colour_pictures_as_they_are_five_in_a_row():
    colours = np.array([[200, 10, 20], [0, 120, 130]], np.uint8)
    image = saved(figures.predictions(np.zeros((2, 4, 4, 3), np.uint8) + colours[:, None, None], ['one', 'two']))
    columns = [np.flatnonzero((image == colour).all(axis=2).any(axis=0)) for colour in colours]
    assert len(columns[0]) > 100 and len(columns[1]) > 100  # enlarged from four pixels
    assert columns[0].max() < columns[1].min()
    figure = figures.predictions(np.full((6, 4, 4, 1), 99, np.uint8), list('abcdef'))
    shown = [axes for axes in figure.axes if axes.images]
    assert [axes.get_title() for axes in shown] == list('abcdef')
    assert shown[0].get_subplotspec().get_gridspec().nrows == 2
    figure_of_two = figures.predictions(np.zeros((2, 4, 4, 1), np.uint8), ['right', 'wrong'], [True, False])
    assert [axes.title.get_color() for axes in figure_of_two.axes] == ['black', 'C3']
    assert (saved(figure) == 99).all(axis=2).sum() > 10_000


def test_large_pictures_are_averaged_down():
    halves = np.zeros((1, 240, 100, 3), np.uint8)
    halves[:, 1::2] = 100
    halves[:, :, 50:] += 100
    shown = figures.predictions(halves, ['stripes']).axes[0].images[0].get_array()
    assert shown.shape == (60, 25, 3)
    assert (shown[:, :12] == 50).all() and (shown[:, 13:] == 150).all()  # the means of the stripes


def test_captions():
    assert figures.prediction_caption('cat', 'dog', 0.974) == 'cat → dog, 97 %'
    assert figures.prediction_caption('cat', 'cat', 0.974) == 'cat, 97 %'
    assert figures.prediction_caption('100% wool', 'silk', 0.5) == '100% wool → silk, 50 %'
    long = figures.prediction_caption('Großstraßenbahnhaltestelle', 'a_very_long_name_of_a_class', 1.0)
    assert long == 'Großstraßen…altestelle →\na_very_lon…f_a_class, 100 %'
    assert '→' not in figures.prediction_caption('German_shorthaired_pointer', 'German_shorthaired_pointer', 0.9)


def test_reliability_draws_accuracy_and_its_distance_from_confidence():
    confidence, correct = np.array([0.55, 0.55, 0.95, 0.95]), np.array([True, True, True, False])
    upper, lower = figures.reliability(confidence, correct).axes
    heights = [[bar.get_height() for bar in bars] for bars in upper.containers]
    assert [sum(column) for column in zip(*heights)] == pytest.approx([0] * 8 + [1] + [0] * 5 + [0.95])
    assert heights[1][8] == pytest.approx(0.45)  # right more often than sure
    assert heights[2][14] == pytest.approx(0.45)  # and less often
    assert [bar.get_height() for bar in lower.containers[0]] == [0] * 8 + [2] + [0] * 5 + [2]
    assert upper.get_title() == 'expected calibration error 45.00 %'


def test_corruptions_stand_by_harm_beside_what_is_clean():
    axes = figures.corruptions({'shot_noise': [0.5, 0.25], 'jpeg': [0.75, 0.5]}, clean=0.8).axes[0]
    assert texts(axes.get_yticklabels()) == ['jpeg', 'shot noise']
    assert texts(axes.get_xticklabels()) == ['none', '1', '2']
    assert texts(axes.texts) == ['80.0', '75.0', '50.0', '80.0', '50.0', '25.0']
