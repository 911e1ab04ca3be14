"""The console command: its list of verbs, their help, and what it says of wrong use."""

import subprocess
import sys

import pytest

from mmssl_dynamic import cli
from mmssl_dynamic.commands import main as console
from mmssl_dynamic.commands.registry import GROUPS, VERBS, module_of, parser_of, summary
from mmssl_dynamic.errors import ConfigError
from mmssl_dynamic.version import __version__

# Runs the console command in a process that says which of the large packages it imported.
PROBE = """
import sys
sys.path.insert(0, {root!r})
sys.argv = ["mmssl-dynamic", *{arguments!r}]
from mmssl_dynamic.commands.main import main
try:
    main()
finally:
    large = {{"torch", "mmengine", "mmcv", "mmpretrain", "mmdet", "numpy", "PIL", "matplotlib", "yaml"}}
    print("imported:", *sorted(large & set(sys.modules)), file=sys.stderr)
"""


def probe(repo_root, *arguments):
    """Status, output and errors of the console command; the last line of the errors is what it imported."""
    code = PROBE.format(root=str(repo_root), arguments=arguments)
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_the_overview_has_one_line_for_every_verb_and_imports_nothing_large(repo_root):
    shown = probe(repo_root, "--help")
    assert shown.returncode == 0
    assert shown.stderr.splitlines() == ["imported:"]
    lines = shown.stdout.splitlines()
    assert max(map(len, lines)) <= 120
    for verb in VERBS:
        assert len([line for line in lines if line.startswith(f"  {verb} ")]) == 1


@pytest.mark.parametrize("verb", VERBS)
def test_the_help_of_a_verb_begins_with_what_to_type_and_imports_nothing_large(verb, repo_root):
    shown = probe(repo_root, *verb.split(), "--help")
    assert shown.returncode == 0
    assert shown.stderr.splitlines() == ["imported:"]
    assert shown.stdout.startswith(f"usage: mmssl-dynamic {verb} ")


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_is_a_module_with_a_sentence_options_and_a_main(verb):
    module = module_of(verb)
    assert summary(verb).endswith(").") or summary(verb).endswith(".")
    assert len(summary(verb)) <= 97  # with the name before it, a line of 120
    assert callable(module.main)
    shown = parser_of(verb).format_help()
    assert summary(verb).split()[0] in shown


def test_the_groups_hold_every_verb_once():
    assert len(set(VERBS)) == len(VERBS) == sum(map(len, GROUPS.values()))


@pytest.mark.parametrize(
    ("verb", "hint"),
    [
        ("rout", "did you mean route?"),
        ("extract_features", "did you mean extract-features?"),
        ("data", "did you mean data make-shards or data check-imagenet or data split-imagenet?"),
        ("data check-imagnet", "did you mean data check-imagenet?"),
        ("pineapple", "mmssl-dynamic --help lists them."),
    ],
)
def test_a_verb_that_there_is_not_is_refused_with_the_nearest_one(verb, hint):
    with pytest.raises(ConfigError) as refusal:
        module_of(verb)
    assert str(refusal.value) == f"mmssl-dynamic has no command '{verb}'; {hint}"


@pytest.mark.parametrize("given", [["rout", "x.py"], ["data", "--help"], ["data", "split"]])
def test_a_wrong_verb_is_one_line_and_status_2(given, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["mmssl-dynamic", *given])
    with pytest.raises(SystemExit) as stop:
        console.main()
    assert stop.value.code == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("error: mmssl-dynamic has no command")


def test_without_a_verb_the_overview_is_an_error(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["mmssl-dynamic"])
    with pytest.raises(SystemExit) as stop:
        console.main()
    assert stop.value.code == 2
    assert capsys.readouterr().err == console.overview() + "\n"


def test_the_version_is_the_packages(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["mmssl-dynamic", "--version"])
    console.main()
    assert capsys.readouterr().out == f"mmssl-dynamic {__version__}\n"


def test_python_m_runs_the_same_command(repo_root, tmp_path):
    command = [sys.executable, "-m", "mmssl_dynamic", "data", "check-imagenet", "--no-progress", str(tmp_path)]
    shown = subprocess.run(command, capture_output=True, text=True, check=False, cwd=repo_root)
    assert shown.returncode == 2
    assert shown.stderr.startswith("error: ")
    assert str(tmp_path) in shown.stderr


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["/opt/bin/mmssl-dynamic", "route", "my config.py"], "mmssl-dynamic route 'my config.py'"),
        (["/opt/site-packages/mmssl_dynamic/__main__.py", "demo"], "mmssl-dynamic demo"),
        (["tools/route.py", "config.py"], "python tools/route.py config.py"),
    ],
)
def test_the_command_line_of_a_report_can_be_typed_again(argv, line, monkeypatch):
    monkeypatch.setattr(sys, "argv", argv)
    assert cli.command_line() == line
