"""A function in dollar quotes, and a trigger."""
from django.db import migrations

FUNCTION = """
CREATE FUNCTION keep_history() RETURNS trigger LANGUAGE plpgsql AS $body$
BEGIN
    INSERT INTO shop_history (account_id, change) VALUES (NEW.id, NEW.balance - OLD.balance);
    RETURN NEW;
END $body$
"""


class Migration(migrations.Migration):
    dependencies = [("shop", "0001_accounts")]
    operations = [
        migrations.RunSQL(FUNCTION, "DROP FUNCTION keep_history()"),
        migrations.RunSQL(
            "CREATE TRIGGER keep_history AFTER UPDATE OF balance ON shop_account"
            " FOR EACH ROW EXECUTE FUNCTION keep_history()"
        ),
        migrations.RunSQL("INSERT INTO applied VALUES ('history')"),
    ]
