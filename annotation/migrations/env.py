"""Alembic's entry: run the migrations on the connection that `annotation.database.upgrade` hands over."""

from alembic import context

from annotation.schema import Base
from core.errors import StudyError

connection = context.config.attributes["connection"]
# One transaction for all: SQLite's tables can change in one, though Alembic takes it that they cannot.
context.configure(connection=connection, target_metadata=Base.metadata, transactional_ddl=True)
# SQLite changes a table by making it anew, which its foreign keys would forbid; the driver is asked before a
# transaction begins, because inside one it would not listen.
driver = connection.connection.driver_connection
driver.execute("PRAGMA foreign_keys=OFF")
try:
    with connection.begin():
        context.run_migrations()
        if connection.exec_driver_sql("PRAGMA foreign_key_check").first():
            raise StudyError("The database cannot be upgraded: rows refer to others that are not there.")
finally:
    driver.execute("PRAGMA foreign_keys=ON")
