"""migrate for deployments of many processes: an advisory lock, held by the connection that migrates, lets one at a time.

It is tried for, not waited for: an index that is built concurrently waits for every older snapshot, and whoever waits
for a lock inside of PostgreSQL has one.
"""
import time

from django.core.management import BaseCommand, call_command
from django.db import connection

KEY = 7355608


def lock_function(name):
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT pg_{name}(%s)", [KEY])
        return cursor.fetchone()[0]


class Command(BaseCommand):
    help = "Applies all migrations, one process at a time."

    def handle(self, *args, **options):
        while not lock_function("try_advisory_lock"):
            time.sleep(0.2)
        try:
            call_command("migrate", interactive=False)
        finally:
            if not lock_function("advisory_unlock"):
                raise RuntimeError("the lock was lost on the way")
