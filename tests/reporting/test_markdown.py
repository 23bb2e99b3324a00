import markdown
import pytest

from dsconv.reporting.markdown import plain
from dsconv.reporting.sections import percent


@pytest.mark.parametrize('text', ['*a* **b**', '_a_ __b__', '`a`', '[a](b)', '![a](b)', '<u>a</u>', '&lt;', 'a\\*b\\'])
def test_plain_text_is_shown_as_it_is(text):
    shown = text.replace('&', '&amp;').replace('<', '&lt;').replace('>', '&gt;')
    assert markdown.markdown(f'x {plain(text)} y') == f'<p>x {shown} y</p>'


def test_plain_text_is_a_line_without_strikethrough():
    assert plain('a\n\n# b\tc') == 'a # b c'
    assert '~' not in plain('~~a~~')  # which GitHub strikes through, and Python-Markdown does not know


def test_percent_has_two_places():
    assert [percent(share) for share in (0, 0.98125, 1)] == ['0.00 %', '98.12 %', '100.00 %']
