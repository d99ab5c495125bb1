"""Runs the migrations inside the transaction of the caller, which keeps others from doing the same.

Alembic executes this file. A new migration is a file in versions/, written by hand: its `down_revision` is
the newest one's `revision`, and `HEAD` in engine/store/migrate.py becomes its own. It never imports the
schema, which moves on.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import context

from engine.store.views import create_views, drop_views


def run(connection: sa.Connection) -> None:
    drop_views(connection)
    # Batch mode: SQLite changes a table by making a new one and copying.
    context.configure(connection=connection, render_as_batch=True)
    with context.begin_transaction():
        context.run_migrations()
    create_views(connection)


run(context.config.attributes["connection"])
