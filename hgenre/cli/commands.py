"""All commands of the command line, as typer reads them."""

import typer

from hgenre.cli.ablate import ablate
from hgenre.cli.baselines import baselines
from hgenre.cli.demo_corpus import demo_corpus
from hgenre.cli.doctor import doctor
from hgenre.cli.evaluate import evaluate
from hgenre.cli.features import features
from hgenre.cli.forecast import forecast
from hgenre.cli.group import group
from hgenre.cli.import_features import import_features
from hgenre.cli.index import index
from hgenre.cli.inspect import inspect
from hgenre.cli.leak import leak
from hgenre.cli.models import models
from hgenre.cli.pictures import pictures
from hgenre.cli.predict import predict
from hgenre.cli.reproduce import reproduce
from hgenre.cli.train import cross_validate, train, train_tree
from hgenre.cli.why import why

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
    why,
    forecast,
    leak,
    ablate,
    baselines,
    reproduce,
    pictures,
    inspect,
    models,
    doctor,
    demo_corpus,
):
    app.command()(command)
app.add_typer(features, name="features")
app.add_typer(group, name="group")
