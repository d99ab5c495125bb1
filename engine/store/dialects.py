"""What SQLite and PostgreSQL say in different words."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement


class NextChange(FunctionElement[int]):
    """The number that a write gives to `runs.changed`; see engine/store/summaries.py.

    SQLite's writers hold the write lock, so that no two get one number and none commits below one that was
    seen. PostgreSQL's write at once: there it is the number of the transaction.
    """

    type = sa.BigInteger()
    inherit_cache = True


class LatestChange(FunctionElement[int]):
    """The number up to which all changes of runs can be seen, within a select from `runs`.

    In PostgreSQL that is the one before the oldest transaction still going on, whose rows come later.
    """

    type = sa.BigInteger()
    inherit_cache = True


@compiles(NextChange)
def _(element: NextChange, compiler: Any, **options: Any) -> str:
    return "(SELECT coalesce(max(changed), 0) + 1 FROM runs)"


@compiles(NextChange, "postgresql")
def _(element: NextChange, compiler: Any, **options: Any) -> str:
    return CURRENT_TRANSACTION


@compiles(LatestChange)
def _(element: LatestChange, compiler: Any, **options: Any) -> str:
    return "coalesce(max(changed), 0)"


@compiles(LatestChange, "postgresql")
def _(element: LatestChange, compiler: Any, **options: Any) -> str:
    return "pg_snapshot_xmin(pg_current_snapshot())::text::bigint - 1"


CURRENT_TRANSACTION = "pg_current_xact_id()::text::bigint"


class NumberInJson(FunctionElement[float]):
    """A value in a JSON column as a number, NULL where it is none.

    SQLite takes what it finds as best it can; PostgreSQL would end the whole query at the first row where an
    older version kept something else under that key.
    """

    type = sa.Float()
    inherit_cache = True


class BooleanInJson(FunctionElement[bool]):
    """The same for true and false."""

    type = sa.Boolean()
    inherit_cache = True


@compiles(NumberInJson)
@compiles(BooleanInJson)
def _(element: FunctionElement[Any], compiler: Any, **options: Any) -> str:
    return str(compiler.process(_typed(element), **options))


@compiles(NumberInJson, "postgresql")
@compiles(BooleanInJson, "postgresql")
def _(element: FunctionElement[Any], compiler: Any, **options: Any) -> str:
    (found,) = element.clauses
    kind = "number" if isinstance(element, NumberInJson) else "boolean"
    guarded = sa.case((sa.func.json_typeof(found) == kind, _typed(element)))
    return str(compiler.process(guarded, **options))


def _typed(element: FunctionElement[Any]) -> sa.ColumnElement[Any]:
    found: Any
    (found,) = element.clauses
    typed: sa.ColumnElement[Any]
    typed = found.as_float() if isinstance(element, NumberInJson) else found.as_boolean()
    return typed


class Matches(FunctionElement[bool]):
    """Whether a regular expression is found in text, upper and lower case being alike. Takes the text and the
    expression."""

    type = sa.Boolean()
    inherit_cache = True


@compiles(Matches)
def _(element: Matches, compiler: Any, **options: Any) -> str:
    text, pattern = (compiler.process(clause, **options) for clause in element.clauses)
    return f"({text} REGEXP ('(?i:' || {pattern} || ')'))"  # Python's, which SQLAlchemy gives to SQLite


@compiles(Matches, "postgresql")
def _(element: Matches, compiler: Any, **options: Any) -> str:
    text, pattern = (compiler.process(clause, **options) for clause in element.clauses)
    return f"({text} ~* {pattern})"
