"""Docstrings as Markdown: their cross-references and literal blocks, which are written for any reader of reST."""

from __future__ import annotations

import re
from typing import Any

import griffe

_ROLE = re.compile(r":(?:class|func|meth|mod|data|attr|exc):`(~?)([^`]+)`")


class SphinxRoles(griffe.Extension):
    """Turns ``:class:`~package.Name``` into a link where the object has an entry, and into code elsewhere."""

    def on_object(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Rewrite the docstring of an object."""
        if obj.docstring is not None:
            obj.docstring.value = markdown(obj.docstring.value, obj)


def markdown(text: str, place: griffe.Object) -> str:
    """A docstring in Markdown.

    Args:
        text: The docstring.
        place: What it describes: names without a dot are looked up there.
    """

    def link(match: re.Match[str]) -> str:
        short, target = match.groups()
        label = target.rpartition(".")[2] if short else target
        return f'<autoref identifier="{_full(target, place)}" optional><code>{label}</code></autoref>'

    text = _ROLE.sub(link, text)
    text = re.sub(r"(?<!:)::(\n\n +)", r":\1", text)  # a literal block: Markdown has it by its indentation alone
    return text.replace("``", "`")


def _full(target: str, place: griffe.Object) -> str:
    """The path of an object that a docstring names: absolute, or as seen from a class or a module."""
    if target.startswith("mmssl_dynamic."):
        try:
            return place.modules_collection[target].canonical_path
        except (KeyError, griffe.AliasResolutionError):
            return target
    owner: Any = place
    while owner is not None:
        try:
            return owner[target].canonical_path
        except (KeyError, griffe.AliasResolutionError):
            owner = owner.parent
    return target
