"""The ``medpo`` command. Nothing heavy is imported here: help must be instant."""

import errno
import os
import sys

import typer

from medpo_cli import __version__
from medpo_cli.cli.signals import SignalledError
from medpo_cli.io.stdout import open_standard_streams, silence_broken_pipe

_EPILOG = """The whole loop, on the embedded demo where nothing else is configured:

medpo sample | medpo edit > pairs.jsonl

medpo corrupt pairs.jsonl > pairs.v.jsonl

medpo align --lora pairs.v.jsonl -o adapter

medpo eval --adapter adapter
"""
_STAGE_HELP = {
    "sample": "Let the model answer: cases in, the policy's own answers out.",
    "edit": "Correct (or corrupt) only the clinically wrong words: samples in, preference pairs out.",
    "masks": "Find the regions that a record's findings lie in, by a program of your own.",
    "corrupt": "Destroy the lesion in the image, and an equal region elsewhere as control.",
    "align": "Train a LoRA adapter on pairs with FiRe-MPO or another objective.",
    "eval": "Is it right more often, and for the right reason? Scores, intervals, a page.",
}

app = typer.Typer(
    name="medpo",
    help="Make medical vision-language models say what the image shows.",
    epilog=_EPILOG,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(value: bool) -> None:
    if value:
        typer.echo(f"medpo {__version__}")
        raise typer.Exit


@app.callback()
def _main(
    version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Show the version."),
) -> None:
    pass


def _register(requested: str | None) -> None:
    """Add all commands; the options of a stage are built only for the one that was asked for."""
    everything = requested is None
    for name, text in _STAGE_HELP.items():
        if everything or name == requested:
            from medpo_cli.cli.pages import EXAMPLES, epilog
            from medpo_cli.cli.stage import command
            from medpo_cli.cli.stages import STAGES

            examples = epilog(EXAMPLES[name])
            app.command(name, help=text, epilog=examples, rich_help_panel="Stages")(command(STAGES[name], text))
        else:
            app.command(name, help=text, rich_help_panel="Stages")(_not_requested)
    from medpo_cli.cli import helpers

    helpers.register(app)


def _not_requested() -> None:
    """Stands for a command that this invocation does not run, so that its name and help are listed."""


def main() -> None:
    """The command; ``medpo_cli.__main__`` starts it."""
    open_standard_streams()
    for variable in ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_TELEMETRY"):
        os.environ[variable] = "1"
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    completing = "_MEDPO_COMPLETE" in os.environ
    words = [word for word in sys.argv[1:] if not word.startswith("-")]
    _register(None if completing else (words[0] if words else ""))
    try:
        app()
    except OSError as error:  # --help and --version; the commands end under runtime.finish
        silence_broken_pipe()
        sys.stderr.write(f"medpo: error: standard output: {os.strerror(error.errno or errno.EIO)}\n")
        raise SystemExit(74) from None
    except SignalledError as error:  # between two lines of runtime.finish, where nothing is left to do
        raise SystemExit(128 + error.number) from None
    except SystemExit as leaving:
        # typer makes a reader that has gone a plain failure.
        if isinstance(leaving.__context__, BrokenPipeError):
            raise SystemExit(141) from None
        raise


if __name__ == "__main__":
    main()
