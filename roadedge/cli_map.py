"""The commands of maps, added to those of `cli.py`: points at scale, scenes, vectors and the page to look at them."""

from __future__ import annotations

import typer

points_app = typer.Typer(name="points", help="Points at scale: sort them by place once, read any tile of them at once.")
data_app = typer.Typer(name="data", help="Data sets out of scenes and vectors of one's own.")


def add_to(app: typer.Typer) -> None:
    """Give `app` the commands of maps."""
    for group in (points_app, data_app):
        if group.registered_commands:
            app.add_typer(group, no_args_is_help=True)
