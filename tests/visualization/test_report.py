import re
from html.parser import HTMLParser

from matplotlib.figure import Figure

from mmssl_dynamic.visualization.report import HtmlReport


class Balance(HTMLParser):
    """Checks that every tag is closed."""

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def page(tmp_path):
    report = HtmlReport("A <title> & more")
    report.section("Part <one>")
    report.text("5 < 6", "second")
    report.code("x = 1 < 2")
    report.table(["name", "value"], [["a<b", 1.25], ["c", 3]], marked=[1], summary="all & everything")
    figure = Figure()
    figure.subplots().plot([1, 2])
    report.figure(figure, 'a "quoted" caption')
    return report.save(tmp_path / "report.html").read_text()


def test_the_page_is_well_formed_and_escapes_what_it_is_given(tmp_path):
    text = page(tmp_path)
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    assert "<title>A &lt;title&gt; &amp; more</title>" in text
    assert "<td>a&lt;b</td><td>1.2</td>" in text or "<td>a&lt;b</td><td>1.3</td>" in text
    assert "<tr class=mark><td>c</td><td>3</td></tr>" in text


def test_the_page_needs_no_network(tmp_path):
    text = page(tmp_path)
    assert re.findall(r'(?:src|href)="(?!data:)', text) == []
    assert "data:image/png;base64," in text
    assert 'name="viewport"' in text
