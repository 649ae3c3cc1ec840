"""What Alembic runs: the steps, inside the transaction that `migration.upgrade` opened."""

from __future__ import annotations

from alembic import context

from ninesight_store.schema import TABLES, VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=TABLES,
    version_table=VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
