"""``medpo``, from its first line on: until the command is loaded, Ctrl-C ends it quietly and at once.

Nothing else is imported at module level: the fewer lines Python runs before the one that sets the signal, the
fewer moments there are at which Ctrl-C still prints the interpreter's own traceback.
"""

import signal

if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def main() -> None:
    """Entry point of the console script."""
    from medpo_cli.cli.main import main as command

    command()


if __name__ == "__main__":
    main()
