"""The console command ``mmssl-dynamic VERB ...``, also ``python -m mmssl_dynamic VERB ...``."""

from __future__ import annotations

import sys

from mmssl_dynamic import cli
from mmssl_dynamic.commands.registry import GROUPS, PROGRAM, VERBS, run_verb, summary
from mmssl_dynamic.version import __version__

_FAMILIES = {verb.split()[0] for verb in VERBS if " " in verb}


def overview() -> str:
    """The verbs, with a line for each."""
    width = max(map(len, VERBS)) + 2
    lines = [f"usage: {PROGRAM} VERB ...", ""]
    for group, verbs in GROUPS.items():
        lines.append(f"{group}:")
        for verb in verbs:
            lines.append(f"  {verb:{width}}{summary(verb)}")
        lines.append("")
    lines += [
        f"{PROGRAM} VERB --help    explains one",
        f"{PROGRAM} --version      says which version this is",
        "Several GPUs: torchrun --nproc_per_node=8 -m mmssl_dynamic VERB ... --launcher pytorch",
    ]
    return "\n".join(lines)


def main() -> None:
    """Run what the command line says."""
    cli.run(_main)


def _main() -> None:
    given = sys.argv[1:]
    if not given:
        print(overview(), file=sys.stderr)
        sys.exit(2)
    if given[0] in ("-h", "--help"):
        print(overview())
    elif given[0] == "--version":
        print(f"{PROGRAM} {__version__}")
    else:
        words = 2 if given[0] in _FAMILIES and given[1:] and not given[1].startswith("-") else 1
        run_verb(" ".join(given[:words]), given[words:])


if __name__ == "__main__":
    main()
