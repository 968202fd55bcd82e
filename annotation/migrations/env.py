"""Alembic's entry: run the migrations on the connection that `annotation.database.upgrade` hands over."""

from alembic import context

from annotation.dialects import migrating
from annotation.schema import Base

connection = context.config.attributes["connection"]
# One transaction for all: SQLite's tables can change in one, though Alembic takes it that they cannot.
context.configure(connection=connection, target_metadata=Base.metadata, transactional_ddl=True)
with migrating(connection):
    context.run_migrations()
