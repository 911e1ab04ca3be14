"""One self-contained HTML page: text, tables and figures that need no network and fit a laptop as well as a phone."""

from __future__ import annotations

import base64
import html
import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from matplotlib.figure import Figure

from mmssl_dynamic.writing import write_text

_STYLE = """
:root { color-scheme: light dark; --ink: #1b1f24; --soft: #57606a; --line: #d8dee4; --paper: #fff; --mark: #fff4d6; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --soft: #9aa4ae; --line: #363c44; --paper: #14171b; --mark: #3d3418; }
}
body { margin: 0 auto; padding: 1.5rem 1rem 4rem; max-width: 60rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, sans-serif; }
h1 { font-size: 1.7rem; line-height: 1.2; margin: .5rem 0 1rem; }
h2 { font-size: 1.25rem; margin: 2.5rem 0 .75rem; padding-top: .75rem; border-top: 1px solid var(--line); }
p { margin: .6rem 0; overflow-wrap: anywhere; } .note, figcaption { color: var(--soft); font-size: .9rem; }
.scroll { overflow-x: auto; max-width: 100%; margin: .75rem 0; scrollbar-width: thin;
  background: linear-gradient(90deg, var(--paper) 1.5rem, transparent 3rem) 0 0 / 3rem 100% no-repeat local,
    linear-gradient(270deg, var(--paper) 1.5rem, transparent 3rem) 100% 0 / 3rem 100% no-repeat local,
    linear-gradient(90deg, var(--line), transparent) 0 0 / .6rem 100% no-repeat scroll,
    linear-gradient(270deg, var(--line), transparent) 100% 0 / .6rem 100% no-repeat scroll; }
table { border-collapse: collapse; font-size: .9rem; }
th, td { padding: .3rem .7rem; text-align: right; border-bottom: 1px solid var(--line); white-space: nowrap;
  font-variant-numeric: tabular-nums; }
th { white-space: normal; vertical-align: bottom; } table.facts td:last-child { text-align: left; white-space: normal;
  overflow-wrap: anywhere; min-width: 12rem; } table.facts td:first-child { vertical-align: top; }
th:first-child, td:first-child { text-align: left; } tr.mark td { background: var(--mark); font-weight: 600; }
dt { font-weight: 600; margin-top: .5rem; } dd { margin: 0 0 0 1rem; }
figure { margin: 1rem 0; } figure img { max-width: 100%; height: auto; background: #fff; border-radius: 4px; }
pre { overflow-x: auto; padding: .75rem; border: 1px solid var(--line); border-radius: 6px; font-size: .85rem; }
details summary { cursor: pointer; color: var(--soft); }
"""


class HtmlReport:
    """Collects the parts of a page and writes it.

    Args:
        title: Title and main heading.
    """

    def __init__(self, title: str) -> None:
        self.title = title
        self._parts: list[str] = []

    def section(self, heading: str) -> None:
        """Begin a section."""
        self._parts.append(f"<h2>{html.escape(heading)}</h2>")

    def text(self, *paragraphs: str, note: bool = False) -> None:
        """Paragraphs of plain text; ``note`` sets them smaller."""
        kind = ' class="note"' if note else ""
        self._parts += [f"<p{kind}>{html.escape(paragraph)}</p>" for paragraph in paragraphs]

    def code(self, text: str) -> None:
        """Commands or other preformatted text."""
        self._parts.append(f"<pre>{html.escape(text)}</pre>")

    def table(
        self,
        header: Sequence[str],
        rows: Iterable[Sequence[object]],
        marked: Iterable[int] = (),
        summary: str | None = None,
    ) -> None:
        """A table.

        Args:
            header: Names of the columns.
            rows: Cells; floats are shown with one decimal.
            marked: Indices of rows to emphasise.
            summary: Hide the table behind this line until it is clicked.
        """
        chosen = set(marked)
        head = "".join(f"<th>{html.escape(name)}</th>" for name in header)
        cells = ["".join(f"<td>{html.escape(_cell(cell))}</td>" for cell in row) for row in rows]
        body = "".join(f"<tr{' class=mark' if i in chosen else ''}>{row}</tr>" for i, row in enumerate(cells))
        table = f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>'
        self._hidden(table, summary)

    def facts(self, values: Mapping[str, object], summary: str | None = None) -> None:
        """Names and values, a line each; a record in a record is written out.

        Args:
            values: By their names.
            summary: Hide them behind this line until it is clicked.
        """
        rows = [[name, _words(value)] for name, value in values.items()]
        body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        self._hidden(f'<div class="scroll"><table class="facts"><tbody>{body}</tbody></table></div>', summary)

    def terms(self, explained: Mapping[str, str]) -> None:
        """Words and what they mean."""
        entries = (f"<dt>{html.escape(word)}</dt><dd>{html.escape(text)}</dd>" for word, text in explained.items())
        self._parts.append(f"<dl>{''.join(entries)}</dl>")

    def _hidden(self, part: str, summary: str | None) -> None:
        if summary is not None:
            part = f"<details><summary>{html.escape(summary)}</summary>{part}</details>"
        self._parts.append(part)

    def figure(self, picture: Figure | str | os.PathLike[str], caption: str) -> None:
        """A matplotlib figure, or a PNG or JPEG file."""
        kind = "png"
        if isinstance(picture, Figure):
            buffer = io.BytesIO()
            picture.savefig(buffer, format="png", dpi=150)
            data = buffer.getvalue()
        else:
            data = Path(picture).read_bytes()
            kind = "jpeg" if Path(picture).suffix.lower() in (".jpg", ".jpeg") else "png"
        encoded = base64.b64encode(data).decode("ascii")
        text, source = html.escape(caption), f"data:image/{kind};base64,{encoded}"
        self._parts.append(f'<figure><img alt="{text}" src="{source}"><figcaption>{text}</figcaption></figure>')

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page, atomically."""
        page = (
            '<!doctype html><html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>{html.escape(self.title)}</title><style>{_STYLE}</style></head>"
            f"<body><h1>{html.escape(self.title)}</h1>{''.join(self._parts)}</body></html>\n"
        )
        write_text(path, page)
        return Path(path)


def _words(value: object) -> str:
    """A value without the brackets and quotes of a programming language."""
    if isinstance(value, Mapping):
        return "; ".join(f"{name} {_words(entry)}" for name, entry in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(_words, value))
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "none" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _cell(value: object) -> str:
    return f"{value:.1f}" if isinstance(value, float) else str(value)
