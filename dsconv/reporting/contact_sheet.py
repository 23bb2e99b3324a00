"""Draws contact sheets: rows of small pictures with names and headings, as the content of a PNG file."""

import io
from pathlib import Path

import matplotlib
from PIL import Image, ImageDraw, ImageFont

CELL = 64  # maximum pixels per side of a picture
GAP, MARGIN = 3, 20
HEADING = 44  # height of the line above a block
INK, GREY = (20, 20, 20), (110, 110, 110)
COLOURS = 256  # of the palette; without a palette, the PNG would be three times as large


def contact_sheet(panels) -> bytes:
    """Draws panels side by side, each a stack of blocks (heading, columns, rows); `columns` are numbers above the rows.

    A row is (name, note, images): two texts beside the pictures, the note in smaller type, and uint8 `(n, side, side, 1
    or 3)`, all of one size. Small pictures are enlarged by a whole factor, without interpolation; pictures larger than
    CELL are averaged down. Grey levels are exact unless averaged; other pictures are quantized to COLOURS colours.
    """
    _, _, first_rows = panels[0][0]
    side = first_rows[0][2].shape[1]
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
    all_rows = [row for _, _, rows in blocks for row in rows]
    widths = [max(name_font.getlength(name), note_font.getlength(note)) for name, note, _ in all_rows]
    left, step = 2 * MARGIN + round(max(widths)), cell + GAP
    width, height = left + step * max(len(row[2]) for row in all_rows), HEADING * len(blocks) + step * len(all_rows)
    panel, y = Image.new('RGB', (width, height), 'white'), 0
    draw = ImageDraw.Draw(panel)
    for heading, columns, rows in blocks:
        y += HEADING
        draw.text((MARGIN, y - 9), heading, INK, heading_font, anchor='ls')
        for column, number in enumerate(columns):
            text = f'{number:g}'.replace('-', '−')
            draw.text((left + step * column + cell / 2, y - 9), text, INK, note_font, anchor='ms')
        for name, note, images in rows:
            name_y = y + cell / 2 - (9 if note else 0)
            draw.text((MARGIN, name_y), name, INK, name_font, anchor='lm')
            draw.text((MARGIN, name_y + 20), note, GREY, note_font, anchor='lm')
            for column, image in enumerate(images):
                picture = Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
                # BOX: each pixel is the mean of the pixels that it covers.
                picture = picture.resize((cell, cell), Image.Resampling.BOX)
                panel.paste(picture, (left + step * column, y))
            y += step
    return panel


def _font(name: str, size: int):
    """Loads one of matplotlib's own fonts, so that the sheet looks the same everywhere."""
    return ImageFont.truetype(Path(matplotlib.get_data_path(), 'fonts', 'ttf', f'{name}.ttf'), size)
