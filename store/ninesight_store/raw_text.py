"""The bytes of a text column, as every database spells it."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import GenericFunction

__all__ = ["raw_text"]


class raw_text(GenericFunction[bytes]):  # noqa: N801 - it is an SQL function
    """UTF-8 bytes of a text, damaged or not."""

    type = sa.LargeBinary()
    inherit_cache = True


@compiles(raw_text)
def _cast(element: raw_text, compiler: Any, **kw: Any) -> str:
    return f"CAST({compiler.process(element.clauses, **kw)} AS BLOB)"


@compiles(raw_text, "postgresql")
def _converted(element: raw_text, compiler: Any, **kw: Any) -> str:
    # A cast would take backslashes for escapes.
    return f"convert_to({compiler.process(element.clauses, **kw)}, 'UTF8')"
