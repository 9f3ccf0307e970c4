"""Models, a constraint, and a table that tells which migrations ran."""
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True
    operations = [
        migrations.RunSQL("CREATE TABLE applied (name text NOT NULL)"),
        migrations.RunSQL("CREATE TYPE account_state AS ENUM ('open', 'closed')"),
        migrations.CreateModel(
            "Account",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("email", models.EmailField(unique=True)),
                ("balance", models.DecimalField(max_digits=12, decimal_places=2, default=0)),
                ("created", models.DateTimeField(null=True)),
            ],
            options={"indexes": [models.Index(fields=["balance"], name="account_balance")]},
        ),
        migrations.CreateModel(
            "History",
            [
                ("id", models.BigAutoField(primary_key=True)),
                ("account", models.ForeignKey("shop.Account", models.CASCADE)),
                ("change", models.DecimalField(max_digits=12, decimal_places=2)),
            ],
        ),
        migrations.AddConstraint(
            "account", models.CheckConstraint(check=models.Q(balance__gte=0), name="balance_is_not_negative")
        ),
        migrations.RunSQL("INSERT INTO applied VALUES ('accounts')"),
    ]
