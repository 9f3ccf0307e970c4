"""A function in dollar quotes, and a trigger."""
import sqlalchemy as sa
from alembic import op

revision, down_revision = "2", "1"


def upgrade():
    op.create_table(
        "history",
        sa.Column("account", sa.BigInteger, sa.ForeignKey("accounts.id"), nullable=False),
        sa.Column("change", sa.Numeric(12, 2), nullable=False),
    )
    op.execute("""
        CREATE FUNCTION keep_history() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            INSERT INTO history VALUES (NEW.id, NEW.balance - OLD.balance);
            RETURN NEW;
        END $$""")
    op.execute(
        "CREATE TRIGGER keep_history AFTER UPDATE OF balance ON accounts"
        " FOR EACH ROW EXECUTE FUNCTION keep_history()"
    )
    op.execute("INSERT INTO applied VALUES ('history')")
