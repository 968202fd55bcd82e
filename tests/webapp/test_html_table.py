"""Tables as HTML."""

from webapp.html_table import html_table


def test_a_table_escapes_and_sets_numbers_apart() -> None:
    html = html_table("C <1>", ("A", "B", "C"), [("<x>", 3, 'y"')])
    assert '<th scope="row"><bdi>&lt;x&gt;</bdi></th>' in html
    assert '<td class="me-number">3</td><td><bdi>y&quot;</bdi></td>' in html
    assert 'aria-label="C &lt;1&gt;"' in html
    assert html_table("C", ("A",), []) == ""
    assert html_table("C", ("A",), [], "None <yet>.") == '<p class="me-quiet">None &lt;yet&gt;.</p>'
