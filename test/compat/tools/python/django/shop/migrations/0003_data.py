"""Data, by the historical models: in bulk, one by one in savepoints, and read through a server-side cursor."""
from django.db import IntegrityError, migrations, models, transaction
from django.db.models import F


def fill(apps, schema_editor):
    account = apps.get_model("shop", "Account")
    account.objects.bulk_create(account(email=f"user{n}@example.com", balance=n) for n in range(500))
    try:
        with transaction.atomic():
            account.objects.create(email="user1@example.com")
    except IntegrityError:
        pass  # Only the savepoint is lost.
    account.objects.update(balance=F("balance") + 1)
    for one in account.objects.order_by("id").iterator(chunk_size=100):
        one.domain = one.email.partition("@")[2]
        one.save(update_fields=["domain"])


class Migration(migrations.Migration):
    dependencies = [("shop", "0002_history")]
    operations = [
        migrations.AddField("account", "domain", models.TextField(null=True)),
        migrations.RunPython(fill, migrations.RunPython.noop),
        migrations.RunSQL("INSERT INTO applied VALUES ('data')"),
    ]
