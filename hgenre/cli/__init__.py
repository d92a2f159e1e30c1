"""The command line: ``hgenre <command>``. Heavy imports stay inside the commands that need them."""

import io
import os
import sys
from contextlib import suppress
from typing import NoReturn

import typer

from hgenre.cli.demo_corpus import demo_corpus
from hgenre.cli.doctor import doctor
from hgenre.cli.evaluate import evaluate
from hgenre.cli.import_features import import_features
from hgenre.cli.index import index
from hgenre.cli.inspect import inspect
from hgenre.cli.models import models
from hgenre.cli.predict import predict
from hgenre.cli.train import cross_validate, train, train_tree
from hgenre.errors import ConfigError, HgenreError, TreeError

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Hierarchical genre recognition in music: a tree of compiled CNNs that routes, resolves and votes.",
)
for command in (
    predict,
    index,
    import_features,
    train_tree,
    train,
    cross_validate,
    evaluate,
    inspect,
    models,
    doctor,
    demo_corpus,
):
    app.command()(command)

INTERRUPTED = 130


def main() -> None:
    """Runs a command; exits 0 when all is done, 1 when something failed and was named, 2 on wrong usage."""
    for stream in (sys.stdout, sys.stderr):
        # A path or a sign that the terminal's encoding lacks is shown escaped; the other songs get their answers.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        app(prog_name="hgenre")
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
        sys.stderr.close()
        sys.exit(1)


def _stop() -> NoReturn:
    """Leaves at once: XLA's threads may be compiling still, and an interpreter that ends under them crashes."""
    with suppress(OSError):
        print("hgenre: stopped", file=sys.stderr, flush=True)
        sys.stdout.flush()
    os._exit(INTERRUPTED)
