"""The pages: they build strictly, nothing on them is fetched, and every command and public name has its place."""

import os
import re
import subprocess
import sys

import pytest

import mmssl_dynamic.apis
import mmssl_dynamic.engine
import mmssl_dynamic.export
import mmssl_dynamic.models
import mmssl_dynamic.routing
from mmssl_dynamic.commands.registry import VERBS, parser_of
from tests.docs.blocks import ROOT, pages, unnamed_blocks

pytest.importorskip("mkdocs", reason="pip install -r requirements/docs.txt")
sys.path.append(str(ROOT / "tools/dev/docs"))
try:
    import pages as made
finally:
    sys.path.pop()


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """All pages, built as `make docs` builds them: a dead link or anchor is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return folder


@pytest.mark.slow
def test_the_pages_build_strictly_and_fetch_nothing(site):
    found = sorted(site.rglob("*.html"))
    assert len(found) > 40
    fetched = re.compile(r'(?:src|href)="(https?:)?//[^"]*"[^>]*(?:rel="(?:stylesheet|preconnect)|></script>)')
    for page in found:
        text = page.read_text(encoding="utf-8")
        assert not fetched.search(text), page
        assert not re.search(r'<(?:script|img|iframe)[^>]+src="(?:https?:)?//', text), page
        assert not re.search(r'<link[^>]+href="(?:https?:)?//', text), page


@pytest.mark.slow
def test_docstrings_have_no_markup_of_sphinx_left(site):
    left = {}
    for page in (site / "api").glob("*.html"):
        text = re.sub(r"<pre.*?</pre>", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        if found := re.findall(r":(?:class|func|meth|mod|data|attr):`?[^<]{0,40}", text):
            left[page.name] = found
    assert not left


def test_every_command_has_a_page_with_all_of_its_options():
    found = made.command_pages()
    for verb in VERBS:
        text = found[f"commands/{verb.replace(' ', '-')}.md"]
        table = [line for line in text.splitlines() if line.startswith("| `")]
        for action in parser_of(verb)._actions:
            if action.help in ("==SUPPRESS==", "show this help message and exit"):
                continue
            shown = [f"`{name}`" for name in action.option_strings] or [f"`{action.metavar or action.dest.upper()}"]
            assert any(all(name in line for name in shown) for line in table), (verb, action.dest)
        assert f"({verb.replace(' ', '-')}.md)" in found["commands/index.md"]


def test_every_public_name_is_in_the_reference():
    reference = "\n".join(made.api_pages().values())
    for module in (
        mmssl_dynamic.apis,
        mmssl_dynamic.models,
        mmssl_dynamic.engine,
        mmssl_dynamic.routing,
        mmssl_dynamic.export,
    ):
        missing = [name for name in module.__all__ if not re.search(rf"^::: [\w.]+\.{name}$", reference, re.MULTILINE)]
        assert not missing, module.__name__


def test_docstrings_name_what_there_is():
    """A reference of a docstring to an object of the package, which the pages would show without a link."""
    griffe = pytest.importorskip("griffe")
    package = griffe.load("mmssl_dynamic", search_paths=[ROOT], resolve_aliases=True)
    missing = []
    for file in sorted((ROOT / "mmssl_dynamic").rglob("*.py")):
        if ".mim" in file.parts:
            continue
        for match in re.finditer(r":(?:class|func|meth|mod|data|attr):`~?(mmssl_dynamic\.[^`]+)`", file.read_text()):
            try:
                package.modules_collection[re.sub(r"\s", "", match.group(1))]
            except (KeyError, griffe.AliasResolutionError):
                missing.append(f"{file.relative_to(ROOT)}: {match.group(1)}")
    assert not missing


def test_every_page_is_in_the_navigation():
    """By its name, or by a folder whose pages all are: what the strict build asks for, in milliseconds."""
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:\n")[2]
    for page in (ROOT / "docs").rglob("*.md"):
        name = page.relative_to(ROOT / "docs").as_posix()
        assert f"- {name}\n" in navigation or f": {name.partition('/')[0]}/\n" in navigation, name


def test_links_of_files_of_the_checkout_lead_to_their_pages(tmp_path, monkeypatch):
    (tmp_path / "docs").mkdir()
    for name in ("docs/a.md", "LICENSE", "CHANGELOG.md"):
        (tmp_path / name).write_text("")
    (tmp_path / "README.md").write_text("[a](docs/a.md#b), [c](CHANGELOG.md), [l](LICENSE), [w](https://x.y)\n")
    monkeypatch.setattr(made, "ROOT", tmp_path)
    assert made._moved("README.md", "index.md", made.COPIED) == (
        "[a](a.md#b), [c](changelog.md), l (`LICENSE`), [w](https://x.y)\n"
    )
    (tmp_path / "README.md").write_text("[gone](docs/gone/)\n[z](z.py)\n")
    with pytest.raises(FileNotFoundError, match=r"README.md links to z.py"):
        made._moved("README.md", "index.md", made.COPIED)


def test_the_readme_is_short_and_its_links_lead_somewhere():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 160
    links = re.findall(r"\]\(([^)\s]+)\)", text)
    assert len(links) > 15
    for link in links:
        if "://" not in link:
            assert (ROOT / link.partition("#")[0]).exists(), link


def test_a_block_of_commands_says_its_language():
    """One without is not copied into a shell: output, or a drawing."""
    allowed = {"README.md": 1, "CONTRIBUTING.md": 0, "docs/architecture.md": 2}
    found: dict[str, int] = {}
    for place in unnamed_blocks():
        page = place.rpartition(":")[0]
        found[page] = found.get(page, 0) + 1
    assert {page: count for page, count in found.items() if count != allowed.get(page, 0)} == {}
    assert len(pages()) > 15
