"""Tables, an enum, indexes."""
import sqlalchemy as sa
from alembic import op

revision, down_revision = "1", None


def upgrade():
    op.create_table("applied", sa.Column("name", sa.Text, nullable=False))
    op.create_table(
        "accounts",
        sa.Column("id", sa.BigInteger, sa.Identity(), primary_key=True),
        sa.Column("email", sa.Text, nullable=False, unique=True),
        sa.Column("state", sa.Enum("open", "closed", name="account_state"), nullable=False, server_default="open"),
        sa.Column("balance", sa.Numeric(12, 2), nullable=False, server_default="0"),
        sa.CheckConstraint("balance >= 0"),
        comment="it's the customers' accounts",
    )
    op.create_index("accounts_state", "accounts", ["state", sa.text("balance DESC")])
    op.execute("INSERT INTO applied VALUES ('accounts')")
