"""Alembic's entry: run the migrations on the connection that `annotation.database.upgrade` hands over."""

from alembic import context

from annotation.schema import Base

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
with connection.begin():
    context.run_migrations()
