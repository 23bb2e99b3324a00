"""Draws the pictures of a report as matplotlib Figures, without the global state of pyplot."""

import functools
import io
import math
import warnings
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib import font_manager
from matplotlib.colors import PowerNorm
from matplotlib.figure import Figure
from PIL import Image

from dsconv.reporting.scores import BINS, expected_calibration_error, reliability_bins
from dsconv.reporting.sections import percent

COUNTED_CLASSES = 30  # with more classes, the numbers in the cells would be illegible
LABELLED_CLASSES = 25  # approximate number of axis labels for more than COUNTED_CLASSES classes
# The training loss is the one that the optimizer minimises; other splits are scored on plain images and labels.
TRAINED_ON = "train: the recipe's loss, on augmented images;\nothers: cross-entropy, on plain images"
MISTAKES = 25
MISTAKE_PIXELS = 60  # 25 photographs of 56 x 56 pixels make a PNG of about 230 kB; at full size, megabytes
# matplotlib's default font has no Chinese, Japanese or Korean characters: the first installed font of these is added.
EAST_ASIAN_FONTS = ('Noto Sans CJK JP', 'Noto Sans CJK SC', 'Hiragino Sans', 'PingFang SC', 'Microsoft YaHei')


def png(figure: Figure) -> bytes:
    """Returns the figure as the content of a PNG file."""
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        # A character without a glyph is drawn as a box; the warning adds nothing.
        warnings.filterwarnings('ignore', message='Glyph .* missing from')
        figure.savefig(buffer, format='png', bbox_inches='tight')
    return buffer.getvalue()


def confusion_matrix(counts: np.ndarray, class_names: Sequence[str], title: str) -> Figure:
    """Draws a (C, C) integer matrix as a heat map; a row is a true class, coloured by the shares of its examples.

    For at most COUNTED_CLASSES classes, the cells show the counts and every class is labelled. scikit-learn's
    ConfusionMatrixDisplay is not used, because its colours follow the printed values and it imports pyplot.
    """
    counts = np.asarray(counts)
    classes = len(counts)
    counted = classes <= COUNTED_CLASSES
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = max(4.0, 2.2 + 0.34 * classes) if counted else 9.0
    figure = Figure(figsize=(side + 0.8, side), dpi=90, layout='compressed')
    axes = figure.add_subplot()
    # Colours follow the square root of the share: linear colours would hide the errors of 1 % that readers look for.
    # With more classes than pixels, the colours are averaged: `nearest` would skip rows.
    image = axes.imshow(shares, cmap='Blues', norm=PowerNorm(0.5, vmin=0, vmax=1), interpolation_stage='rgba')
    bar = figure.colorbar(image, ax=axes, label='share of the true class', shrink=0.8, aspect=25, fraction=0.05)
    ticks = [0, 0.01, 0.05, 0.1, 0.25, 0.5, 0.75, 1]
    bar.set_ticks(ticks, labels=[percent(tick, 0) for tick in ticks])
    shown = np.arange(0, classes, 1 if counted else math.ceil(classes / LABELLED_CLASSES))
    names = [_shorten(class_names[index], 20) for index in shown]
    text = {'parse_math': False, 'family': fonts(), 'fontsize': 9 if counted else 8}
    axes.set_yticks(shown, names, **text)
    axes.set_xticks(shown, names, rotation=0 if max(map(len, names)) <= 2 else 90, **text)
    axes.set(xlabel='predicted class', ylabel='true class')
    axes.set_title(title, fontsize=11, parse_math=False, family=fonts())
    if counted:
        for row, column in np.argwhere(counts):
            colour = 'white' if shares[row, column] > 0.3 else 'black'
            axes.text(column, row, str(counts[row, column]), ha='center', va='center', fontsize=7.5, color=colour)
    return figure


def curves(metrics: Sequence[dict]) -> Figure:
    """Draws loss, accuracy and learning rate by epoch, from lines of `metrics.jsonl`; missing values leave a gap."""
    figure = Figure(figsize=(12, 3.6), dpi=100, layout='constrained')
    splits = list(dict.fromkeys(line['split'] for line in metrics))
    panels = {'loss': 'loss (nats)', 'accuracy': 'accuracy', 'learning_rate': 'learning rate'}
    for axes, (name, label) in zip(figure.subplots(1, len(panels)), panels.items(), strict=True):
        for index, split in enumerate(splits):
            lines = [line for line in metrics if line['split'] == split and name in line]
            epochs = [line['epoch'] for line in lines]
            values = np.array([line[name] for line in lines], dtype=float)  # None becomes NaN
            if np.isfinite(values).any():
                # Short curves get markers: a single evaluation at the end of a run is only one point.
                marker = 'o' if len(lines) <= 25 else None
                axes.plot(epochs, values, color=f'C{index}', label=split, linewidth=1.3, marker=marker, markersize=4)
        axes.set(xlabel='epoch', ylabel=label)
        axes.grid(alpha=0.3)
        if axes.lines:
            compared = name != 'learning_rate' and 'train' in splits
            axes.legend(title=TRAINED_ON if compared else None, title_fontsize=7, fontsize=9)
    return figure


def reliability(confidence: np.ndarray, correct: np.ndarray) -> Figure:
    """Draws accuracy against confidence, and below it the number of predictions per bin; both arguments are (N,)."""
    counts, confidences, accuracies = reliability_bins(confidence, correct)
    error = expected_calibration_error(confidence, correct)
    figure = Figure(figsize=(5.2, 5.4), dpi=90, layout='constrained')
    upper, lower = figure.subplots(2, height_ratios=(3.4, 1), sharex=True)
    middles, width = (np.arange(BINS) + 0.5) / BINS, 1 / BINS
    accuracies, confidences = np.nan_to_num(accuracies), np.nan_to_num(confidences)
    least = np.minimum(accuracies, confidences)
    style = {'width': width, 'edgecolor': 'white'}
    upper.bar(middles, least, color='C0', **style)
    upper.bar(middles, accuracies - least, bottom=least, color='C2', label='underconfident', **style)
    upper.bar(middles, confidences - least, bottom=least, color='C3', label='overconfident', **style)
    upper.plot([0, 1], [0, 1], color='0.35', linestyle='--', linewidth=1)
    upper.set(xlim=(0, 1), ylim=(0, 1), ylabel='accuracy')
    upper.set_title(f'expected calibration error {100 * error:.2f} %', fontsize=11)
    figure.legend(loc='outside lower center', ncols=2, frameon=False, fontsize=9)
    lower.bar(middles, counts, width, color='0.6', edgecolor='white')
    lower.set(xlabel='confidence', ylabel='predictions')
    return figure


def corruptions(accuracy: Mapping[str, Sequence[float]], clean: float) -> Figure:
    """Draws a heat map: corruption → accuracy at severity 1, 2, …; `clean` is severity 0. The mildest is on top."""
    names = sorted(accuracy, key=lambda name: -np.mean(accuracy[name]))
    values = 100 * np.array([[clean, *accuracy[name]] for name in names])
    figure = Figure(figsize=(6.4, 1.5 + 0.42 * len(names)), dpi=90, layout='constrained')
    axes = figure.add_subplot()
    image = axes.imshow(values, cmap='RdYlGn', vmin=0, vmax=100, aspect='auto')
    figure.colorbar(image, ax=axes, label='accuracy, %')
    axes.set_yticks(range(len(names)), [name.replace('_', ' ') for name in names])
    axes.set_xticks(range(values.shape[1]), ['none', *range(1, values.shape[1])])
    axes.set_xlabel('severity')
    for (row, column), value in np.ndenumerate(values):
        axes.text(column, row, f'{value:.1f}', ha='center', va='center', fontsize=9)
    return figure


def predictions(images: np.ndarray, captions: Sequence[str], is_right: Sequence[bool] = (), columns: int = 5) -> Figure:
    """Draws uint8 (n, height, width, 1 or 3) pictures, each with a caption, which is red if `is_right` is false.

    Pictures larger than MISTAKE_PIXELS are averaged down; smaller pictures are enlarged without interpolation.
    """
    columns = min(columns, len(images))
    rows = math.ceil(len(images) / columns)
    figure = Figure(figsize=(max(2.4, 1.95 * columns), 2.1 * rows), dpi=90, layout='constrained')
    grid = figure.subplots(rows, columns, squeeze=False).ravel()
    for axes in grid:
        axes.axis('off')
    colours = ['black' if right else 'C3' for right in is_right] or ['black'] * len(images)
    for axes, image, caption, colour in zip(grid, images, captions, colours, strict=False):
        picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
        picture = picture.reduce(math.ceil(max(picture.size) / MISTAKE_PIXELS))
        axes.imshow(picture, cmap='gray', vmin=0, vmax=255, interpolation='nearest')
        axes.set_title(caption, fontsize=8, color=colour, parse_math=False, family=fonts())
    return figure


def prediction_caption(true: str, predicted: str, probability: float) -> str:
    """Returns 'true → predicted, 97 %', on two lines if it is long, or 'true, 97 %' if the prediction is right."""
    names = _shorten(true, 22) + (f' → {_shorten(predicted, 20)}' if predicted != true else '')
    joined = f'{names}, {percent(probability, 0)}'
    return joined if len(joined) <= 26 else joined.replace(' → ', ' →\n', 1)


def _shorten(name: str, length: int) -> str:
    """Cuts out the middle, because long names tend to differ at the ends. Bytes that are not UTF-8 become '?'."""
    name = name.encode(errors='replace').decode()
    half = (length - 1) // 2
    return name if len(name) <= length else f'{name[: length - 1 - half]}…{name[-half:]}'


@functools.cache  # listing the installed fonts is slow
def fonts() -> list[str]:
    """Returns matplotlib's default font and an installed East Asian font, if any (a missing family would warn)."""
    installed = set(font_manager.get_font_names())
    return ['DejaVu Sans', *[font for font in EAST_ASIAN_FONTS if font in installed][:1]]
