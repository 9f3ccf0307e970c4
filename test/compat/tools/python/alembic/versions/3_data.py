"""Data in bulk, and a column that is filled before it is required."""
import sqlalchemy as sa
from alembic import op

revision, down_revision = "3", "2"

accounts = sa.table("accounts", sa.column("email"), sa.column("balance"), sa.column("domain"))


def upgrade():
    op.bulk_insert(accounts, [{"email": f"user{n}@example.com", "balance": n} for n in range(500)])
    op.execute(accounts.update().values(balance=accounts.c.balance + 1))
    op.add_column("accounts", sa.Column("domain", sa.Text))
    op.execute(accounts.update().values(domain=sa.func.split_part(accounts.c.email, "@", 2)))
    op.alter_column("accounts", "domain", nullable=False)
    op.execute("INSERT INTO applied VALUES ('data')")
