"""An enum's type is replaced, which a transaction can, unlike using a value that it has added."""
from alembic import op

revision, down_revision = "4", "3"


def upgrade():
    op.execute("ALTER TYPE account_state RENAME TO account_state_before")
    op.execute("CREATE TYPE account_state AS ENUM ('open', 'frozen', 'closed')")
    op.execute("ALTER TABLE accounts ALTER COLUMN state DROP DEFAULT")
    op.execute("ALTER TABLE accounts ALTER COLUMN state TYPE account_state USING state::text::account_state")
    op.execute("ALTER TABLE accounts ALTER COLUMN state SET DEFAULT 'open'")
    op.execute("DROP TYPE account_state_before")
    op.execute("UPDATE accounts SET state = 'frozen' WHERE id % 11 = 0")
    op.execute("INSERT INTO applied VALUES ('frozen')")
