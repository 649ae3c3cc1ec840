"""How the tables of alerts came to be: one file a schema version (Alembic)."""
