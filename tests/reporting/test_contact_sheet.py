import io

import numpy as np
import pytest
from PIL import Image

from dsconv.reporting.contact_sheet import contact_sheet


def drawn(*panels):
    return np.asarray(Image.open(io.BytesIO(contact_sheet(panels))).convert('RGB')).astype(int)


def squares(*colours, side=8):
    return np.broadcast_to(np.array(colours, np.uint8)[:, None, None], (len(colours), side, side, len(colours[0])))


def place(sheet, colour):
    """Top, left, height and width of what has a colour, which must be a rectangle."""
    rows, columns = np.nonzero((sheet == colour).all(axis=2))
    top, left, height, width = rows.min(), columns.min(), np.ptp(rows) + 1, np.ptp(columns) + 1
    assert len(rows) == height * width
    return top, left, height, width


def test_rows_blocks_and_panels_stand_in_order():
    colours = [(200, 0, 0), (0, 200, 0), (0, 0, 200), (200, 200, 0), (0, 200, 200)]
    left = [('a', (), [('', '', squares(*colours[:2])), ('', '', squares(colours[2]))])]
    left.append(('b', (), [('', '', squares(colours[3]))]))
    sheet = drawn(left, [('c', (), [('', '', squares(colours[4]))])])
    places = [place(sheet, colour) for colour in colours]
    assert {size for _, _, *size in places for size in size} == {64}
    (first, second, below, next_block, next_panel) = ((top, left) for top, left, *_ in places)
    assert second == (first[0], first[1] + 67)
    assert below == (first[0] + 67, first[1])
    assert next_block[1] == first[1] and next_block[0] > below[0] + 67 + 20  # a heading is between
    assert next_panel[0] == first[0] and next_panel[1] > second[1] + 67


@pytest.mark.parametrize(('side', 'cell'), [(8, 64), (28, 56), (100, 64)])
def test_pictures_are_enlarged_by_whole_numbers_or_shrunk(side, cell):
    sheet = drawn([('', (), [('', '', squares((200, 0, 0), side=side))])])
    assert place(sheet, (200, 0, 0))[2:] == (cell, cell)


def test_every_grey_level_is_exact_and_a_square_of_its_own():
    image = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1)
    sheet = drawn([('', (), [('', '', image)])])
    assert (sheet == sheet[..., :1]).all()
    wanted = image[0, :, :, 0].repeat(4, axis=0).repeat(4, axis=1)
    height, width, _ = sheet.shape
    corners = [(y, x) for y, x in np.argwhere(sheet[..., 0] == 0) if y <= height - 64 and x <= width - 64]
    assert any(np.array_equal(sheet[y : y + 64, x : x + 64, 0], wanted) for y, x in corners)


def test_names_notes_headings_and_numbers_are_written_and_do_not_reach_the_pictures():
    def ink(heading='', columns=(), name='', note=''):
        sheet = drawn([(heading, columns, [(name, note, squares((200, 0, 0)))])])
        place(sheet, (200, 0, 0))
        return (sheet < 200).all(axis=2).sum()

    assert ink() == 0
    name = 'a name of quite some length'
    written = [ink(heading='Heading'), ink(columns=(5,)), ink(name=name), ink(name=name, note='α = 1')]
    assert min(written) > 20 and written[3] > written[2]
