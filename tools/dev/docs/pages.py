"""Pages of the documentation that are made from something else, as a hook of MkDocs.

The front page is README.md; the change log, the page for contributors and those of the configs are the files of the
checkout; every command has a page with what its parser says, and every part of the package one with its docstrings.
"""

from __future__ import annotations

import argparse
import ast
import posixpath
import re
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[3]
# The floors that users and those who extend the package meet, from the top.
PARTS = {
    "apis": "Verbs",
    "execution": "How a verb runs",
    "pipeline.run": "All of SDR in one call",
    "subnets": "Names of sub-networks",
    "models.backbones": "Backbones",
    "models.selfsup": "Algorithms",
    "models": "Heads, necks, losses, classifiers",
    "teachers": "Frozen teachers",
    "engine": "Runner, hooks, optimiser wrappers",
    "routing": "Routing",
    "calibration": "Calibration",
    "export": "Export",
    "datasets": "Data sets and samplers",
    "downstream": "Labelled data of tasks",
    "features": "Features",
    "clustering": "Clustering",
    "clusters": "The clusters file",
    "evaluation": "Evaluation",
    "errors": "Errors",
}
_CODE = re.compile(r"(?<![\w`-])(--[a-z][\w-]*|[\w./-]+\.(?:py|json|html|npz|npy|safetensors|pth))(?![\w-])")
_WIDTH = 96  # letters of a usage
# Files of the checkout that are pages, too.
COPIED = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"}


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages."""
    for name, text in pages().items():
        files.append(File.generated(config, name, content=text))
    return files


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the names of pages where the navigation says no more than their folder."""
    written = (file.relative_to(config.docs_dir).as_posix() for file in sorted(Path(config.docs_dir).rglob("*.md")))
    names = [*written, *pages()]
    for entry in config.nav or []:
        if isinstance(entry, dict):
            for title, folder in list(entry.items()):
                if isinstance(folder, str) and folder.endswith("/"):
                    entry[title] = [name for name in names if name.startswith(folder)]
    return config


def pages() -> dict[str, str]:
    """All pages that are made, in Markdown, by their names in docs/."""
    copied = COPIED | {f"configs/{folder.name}/README.md": f"configs/{folder.name}.md" for folder in config_folders()}
    found = {page: _moved(name, page, copied) for name, page in copied.items() if (ROOT / name).is_file()}
    return {**found, **command_pages(), **api_pages()}


def config_folders() -> list[Path]:
    """Folders of configs with a page."""
    return sorted(file.parent for file in (ROOT / "configs").glob("*/README.md"))


def _moved(name: str, page: str, copied: dict[str, str]) -> str:
    """A file of the checkout as a page: its links lead from there to the pages, or to the name of a file."""
    text = (ROOT / name).read_text(encoding="utf-8")
    here, there = posixpath.dirname(name), posixpath.dirname(page)

    def link(match: re.Match[str]) -> str:
        label, target = match.groups()
        if "://" in target or target.startswith("#"):
            return match.group()
        path, mark, anchor = target.partition("#")
        path = posixpath.normpath(posixpath.join(here, path))
        found = copied.get(path) or (path.removeprefix("docs/") if path.startswith("docs/") else None)
        if found is None:  # a file that is no page
            if not (ROOT / path).exists():
                raise FileNotFoundError(f"{name} links to {target}, which is not there")
            return f"{label} (`{path}`)" if label.strip("`") != path else label
        return f"[{label}]({posixpath.relpath(found, there or '.')}{mark}{anchor})"

    return re.sub(r"\[((?:[^\[\]]|\[[^\]]*\])*)\]\(([^)\s]+)\)", link, text)


def command_pages() -> dict[str, str]:
    """A page for every command, out of its parser."""
    if str(ROOT) not in sys.path:
        sys.path.insert(0, str(ROOT))
    from mmssl_dynamic.commands.registry import GROUPS, PROGRAM, parser_of, summary

    lines = [
        "# Commands",
        "",
        f"`{PROGRAM} VERB` is the command of an installation; in a checkout `python tools/VERB.py` is the same.",
        "Several GPUs: `torchrun --nproc_per_node=8 -m mmssl_dynamic VERB ... --launcher pytorch`.",
        "",
    ]
    found = {}
    for group, verbs in GROUPS.items():
        lines += [f"## {group.capitalize()}", ""]
        for verb in verbs:
            page = verb.replace(" ", "-")
            lines.append(f"- [{verb}]({page}.md): {summary(verb)}")
            found[f"commands/{page}.md"] = command_page(f"{PROGRAM} {verb}", parser_of(verb))
        lines.append("")
    return {"commands/index.md": "\n".join(lines), **found}


def command_page(title: str, parser: argparse.ArgumentParser) -> str:
    """The page of a parser: what it says, its usage, and a table for every group of options."""
    parser.formatter_class = partial(argparse.RawDescriptionHelpFormatter, width=_WIDTH)
    lines = [f"# {title}", "", *_paragraphs(parser.description or ""), "", "```", parser.format_usage().rstrip(), "```"]
    for group in parser._action_groups:
        actions = [action for action in group._group_actions if action.help != "==SUPPRESS=="]
        actions = [action for action in actions if action.option_strings != ["-h", "--help"]]
        if not actions:
            continue
        lines += ["", f"## {(group.title or 'options').capitalize()}", "", "| argument | what it is |", "| --- | --- |"]
        lines += [f"| {_flag(action)} | {_help(action, parser)} |" for action in actions]
    if parser.epilog:
        lines += ["", "```", parser.epilog.strip(), "```"]
    return "\n".join(lines) + "\n"


def _paragraphs(text: str) -> list[str]:
    """A docstring in Markdown: options are code, and indented commands blocks of it."""
    lines = []
    for block in text.strip().split("\n\n"):
        indented = all(line.startswith("    ") for line in block.splitlines())
        lines += ["", block if indented else _coded(block)]
    return lines[1:]


def _coded(text: str) -> str:
    """Options and files in a text as code; what Markdown or HTML would read otherwise as it stands."""
    text = text.replace("<", "&lt;").replace("*", "\\*").replace("|", "\\|").replace("`", "")
    return _CODE.sub(r"`\1`", text)


def _flag(action: Any) -> str:
    names = ", ".join(f"`{name}`" for name in action.option_strings)
    if action.nargs == 0:
        return names
    choices = "{" + ",".join(map(str, action.choices)) + "}" if action.choices else action.dest.upper()
    value = action.metavar or choices
    value = " ".join(value) if isinstance(value, tuple) else str(value)
    more = " ..." if action.nargs in ("+", "*") else ""
    shown = f"`{value}{more}`".replace("|", "\\|")
    return f"{names} {shown}".strip()


def _help(action: Any, parser: Any) -> str:
    text = parser._get_formatter()._expand_help(action) if action.help else ""
    needed = "**required**: " if action.required and action.option_strings else ""
    return needed + _coded(" ".join(text.split()))


def api_pages() -> dict[str, str]:
    """A page for every part of the package, out of the docstrings of its public names."""
    lines = ["# API", "", "What is public, out of the docstrings.", ""]
    found = {}
    shown: set[str] = set()
    for part, title in PARTS.items():
        names = [name for name in (verbs() if part == "apis" else public_names(part)) if name not in shown]
        names = list(dict.fromkeys(names))
        shown |= set(names)
        page = f"api/{part.replace('.', '_')}.md"
        entries = [f"::: {name}" for name in names]
        module = f"mmssl_dynamic.{part}"
        found[page] = "\n\n".join([f"# {title}", f"`{module}`: {_docstring(part)}", *entries]) + "\n"
        lines.append(f"- [{title}]({page.removeprefix('api/')}): `{module}`")
    return {"api/index.md": "\n".join(lines) + "\n", **found}


def _source(part: str) -> ast.Module:
    path = ROOT / "mmssl_dynamic" / part.replace(".", "/")
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return ast.parse(file.read_text(encoding="utf-8"))


def _docstring(part: str) -> str:
    return " ".join((ast.get_docstring(_source(part)) or "").split("\n\n")[0].split())


def verbs() -> Iterator[str]:
    """The functions of ``apis``, with the values that they take, file by file."""
    for file in sorted((ROOT / "mmssl_dynamic" / "apis").glob("[!_]*.py")):
        yield from public_names(f"apis.{file.stem}")
    yield from public_names("execution")


def public_names(part: str) -> Iterator[str]:
    """Where the public names of a part are defined: what ``__all__`` names, or the classes and functions of a file.

    Raises:
        LookupError: ``__all__`` names something that the file neither imports nor defines.
    """
    tree, module = _source(part), f"mmssl_dynamic.{part}"
    own = [node.name for node in tree.body if isinstance(node, (ast.ClassDef, ast.FunctionDef))]
    defined = {name: f"{module}.{name}" for name in own}
    listed = None
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mmssl_dynamic"):
            defined |= {name.asname or name.name: f"{node.module}.{name.name}" for name in node.names}
        elif isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
            listed = ast.literal_eval(node.value)
    if listed is None:
        yield from (defined[name] for name in own if not name.startswith("_"))
        return
    for name in listed:
        if name not in defined:
            raise LookupError(f"{module}.__all__ names {name}, which it does not define")
        yield defined[name]
