"""Alembic's env.py for deployments of many processes: all migrations in one transaction, behind an advisory lock of it."""
import os

from alembic import context
from sqlalchemy import create_engine, pool, text

engine = create_engine(os.environ["DATABASE_URL"].replace("postgres://", "postgresql+psycopg2://"), poolclass=pool.NullPool)

with engine.connect() as connection:
    context.configure(connection=connection)
    with context.begin_transaction():
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext(:name))"), {"name": "alembic"})
        context.run_migrations()
