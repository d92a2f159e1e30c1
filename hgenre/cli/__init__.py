"""The command line: ``hgenre <command>``. Heavy imports stay inside the commands that need them."""

import io
import os
import sys
from contextlib import suppress
from typing import NoReturn

from hgenre.cli.plain import plain_prediction
from hgenre.errors import ConfigError, HgenreError, OptionError, TreeError

INTERRUPTED = 130


def main() -> None:
    """Runs a command; exits 0 when all is done, 1 when something failed and was named, 2 on wrong usage."""
    for stream in (sys.stdout, sys.stderr):
        # A path or a sign that the terminal's encoding lacks is shown escaped; the other songs get their answers.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        if prediction := plain_prediction(sys.argv[1:]):
            from hgenre.cli.answers import print_answers

            sys.exit(print_answers(*prediction))

        from hgenre.cli.commands import app

        app(prog_name="hgenre")
    except OptionError as error:
        for name, what in error.problems:
            print(f"hgenre: --{name.replace('_', '-')}: {what}", file=sys.stderr)
        sys.exit(2)
    except HgenreError as error:
        print(f"hgenre: {error}", file=sys.stderr)
        sys.exit(2 if isinstance(error, ConfigError | TreeError) else 1)
    except KeyboardInterrupt:
        _stop()
    except SystemExit as end:
        if end.code == INTERRUPTED:  # what typer makes of Ctrl-C inside a command
            _stop()
        raise
    except BrokenPipeError:
        # What could not be written stays in the buffer, and must not fail once more when the interpreter ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _stop() -> NoReturn:
    """Leaves at once: XLA's threads may be compiling still, and an interpreter that ends under them crashes."""
    with suppress(OSError):
        print("hgenre: stopped", file=sys.stderr, flush=True)
        sys.stdout.flush()
    os._exit(INTERRUPTED)
