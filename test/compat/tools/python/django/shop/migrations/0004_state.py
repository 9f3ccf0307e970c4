"""Without a transaction: a new value of an enum that is used at once, and an index that is built concurrently."""
from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False
    dependencies = [("shop", "0003_data")]
    operations = [
        migrations.RunSQL("ALTER TYPE account_state ADD VALUE 'frozen' BEFORE 'closed'"),
        migrations.RunSQL("ALTER TABLE shop_account ADD COLUMN state account_state NOT NULL DEFAULT 'open'"),
        migrations.RunSQL("UPDATE shop_account SET state = 'frozen' WHERE id % 11 = 0"),
        AddIndexConcurrently("account", models.Index(fields=["domain", "id"], name="account_domain")),
        migrations.RunSQL("INSERT INTO applied VALUES ('state')"),
    ]
