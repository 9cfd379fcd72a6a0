"""``instability``, or ``python -m lib``: what works on files of one's own, as one command."""

import argparse
import signal
import sys
from collections.abc import Sequence
from importlib import import_module

#: Of each command its module, loaded when it is asked for (help is quick), and what it answers.
COMMANDS = {
    "report": ("lib.report.command", "How unstable are these runs? Is one setting better?"),
    "certificate": ("lib.theory.__main__", "How far can one training example move a head?"),
    "seeds-needed": ("lib.report.seeds", "How many runs does it take?"),
}


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command that the first word names."""
    words = sys.argv[1:] if arguments is None else arguments
    if arguments is None and hasattr(signal, "SIGPIPE"):  # whoever reads may stop: … | head -1
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    parser = argparse.ArgumentParser(
        prog="instability",
        description="The instability of fine-tuning. COMMAND --help says more of each:",
        epilog="\n".join(f"{name:14}{text}" for name, (_, text) in COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", metavar="COMMAND", choices=COMMANDS)
    name = parser.parse_args(words[:1]).command
    import_module(COMMANDS[name][0]).main(words[1:], f"{parser.prog} {name}")


if __name__ == "__main__":
    main()
