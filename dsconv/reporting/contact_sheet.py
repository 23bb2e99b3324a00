"""Contact sheets: rows of small pictures with names and headings, as the content of a PNG file."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import matplotlib
import numpy as np
from PIL import Image, ImageDraw, ImageFont

CELL = 64  # the most pixels a side of a picture
GAP, MARGIN = 3, 20
HEADING = 44  # height of the line above a block
INK, GREY = (20, 20, 20), (110, 110, 110)
COLOURS = 256  # of a PNG with a palette, a third as large as one without


class Row(NamedTuple):
    """Pictures side by side.

    Attributes:
      name, note: written beside them, the note smaller, below the name.
      images: uint8 `(n, height, width, C)` with C 1 or 3.
    """

    name: str
    note: str
    images: np.ndarray


class Block(NamedTuple):
    """Rows under a heading, with a number above each column or none."""

    heading: str
    columns: Sequence[float]
    rows: Sequence[Row]


def contact_sheet(panels: Sequence[Sequence[Block]]) -> bytes:
    """Draws panels side by side, each a stack of blocks; all pictures are squares of one size.

    Small pictures are enlarged by a whole number, without interpolation; larger ones than CELL are averaged down. Grey
    levels are exact where nothing is averaged; other pictures are quantized to COLOURS colours.
    """
    side = panels[0][0].rows[0].images.shape[1]
    cell = CELL // side * side or CELL
    drawn = [_draw_panel(blocks, cell) for blocks in panels]
    width, height = sum(panel.width for panel in drawn), max(panel.height for panel in drawn)
    sheet, x = Image.new('RGB', (width + MARGIN, height + MARGIN), 'white'), 0
    for panel in drawn:
        sheet.paste(panel, (x, 0))
        x += panel.width
    buffer = io.BytesIO()
    sheet.quantize(COLOURS, kmeans=3, dither=Image.Dither.NONE).save(buffer, 'png', optimize=True)
    return buffer.getvalue()


def _draw_panel(blocks, cell):
    heading_font, name_font, note_font = _font('DejaVuSans-Bold', 15), _font('DejaVuSans', 17), _font('DejaVuSans', 13)
    rows = [row for block in blocks for row in block.rows]
    widths = [max(name_font.getlength(row.name), note_font.getlength(row.note)) for row in rows]
    left, step = 2 * MARGIN + round(max(widths)), cell + GAP
    width, height = left + step * max(len(row.images) for row in rows), HEADING * len(blocks) + step * len(rows)
    panel, y = Image.new('RGB', (width, height), 'white'), 0
    draw = ImageDraw.Draw(panel)
    for block in blocks:
        y += HEADING
        draw.text((MARGIN, y - 9), block.heading, INK, heading_font, anchor='ls')
        for column, number in enumerate(block.columns):
            text = f'{number:g}'.replace('-', '−')
            draw.text((left + step * column + cell / 2, y - 9), text, INK, note_font, anchor='ms')
        for row in block.rows:
            name_y = y + cell / 2 - (9 if row.note else 0)
            draw.text((MARGIN, name_y), row.name, INK, name_font, anchor='lm')
            draw.text((MARGIN, name_y + 20), row.note, GREY, note_font, anchor='lm')
            for column, image in enumerate(row.images):
                panel.paste(_enlarge(image, cell), (left + step * column, y))
            y += step
    return panel


def _font(name: str, size: int):
    """Loads one of matplotlib's own fonts, so that the sheet looks the same everywhere."""
    return ImageFont.truetype(Path(matplotlib.get_data_path(), 'fonts', 'ttf', f'{name}.ttf'), size)


def _enlarge(image: np.ndarray, cell: int) -> Image.Image:
    """Resizes uint8 `(side, side, C)` to `cell` pixels a side; each is the mean of those that it covers."""
    picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
    return picture.resize((cell, cell), Image.Resampling.BOX)
