"""psycopg, asked by a test: each line has a URL, a mode and statements, with tabs in between. It connects, runs them and leaves,
and answers by a line: "ok" with what each gave, or "error" with SQLSTATE and message. See ../ask_test.go."""

import sys

import psycopg
import psycopg2

transaction = " in a transaction"


def line(words):
    return " ".join(words.split())


def rows(cursor):
    if cursor.description is None:
        return ""
    return ";".join(line("|".join(str(v) for v in row)) for row in cursor.fetchall())


def ask(url, mode, *statements):
    mode, inside = mode.removesuffix(transaction), mode.endswith(transaction)
    if mode == "psycopg2":
        c = psycopg2.connect(url)
    else:
        c = psycopg.connect(url, prepare_threshold=0 if mode == "prepared" else None)
    try:
        c.autocommit = not inside
        found = []
        for sql in statements:
            cursor = c.cursor(binary=True) if mode == "binary" else c.cursor()
            cursor.execute(sql)
            found.append(rows(cursor))
        if inside:
            c.commit()
        return found
    finally:
        c.close()


for request in sys.stdin:
    try:
        answer = ["ok"] + ask(*request.rstrip("\n").split("\t"))
    except (psycopg.Error, psycopg2.Error) as e:
        state = getattr(e, "sqlstate", None) or getattr(e, "pgcode", None) or ""
        answer = ["error", state, line(str(e))]
    print("\t".join(answer), flush=True)
