"""Named checks: each prints one line, "ok NAME" or "not ok NAME: why"; the last line is the plan, "1..N"."""

import asyncio
import inspect
import signal
import traceback

LIMIT = 20  # seconds that a check may take

checks = []


def check(function):
    """Registers a function (or a coroutine function) as a check of its name."""
    checks.append(function)
    return function


def equal(got, wanted):
    assert got == wanted, f"got {got!r}, not {wanted!r}"


def raises(kind, function, *args, **more):
    """Returns the error of this kind that the call must raise."""
    try:
        function(*args, **more)
    except kind as error:
        return error
    raise AssertionError(f"no {kind.__name__}")


def late(signum, frame):
    raise TimeoutError(f"took more than {LIMIT} s")


def perform(function):
    """Runs one check with an alarm, so that one that hangs is one that failed."""
    signal.alarm(LIMIT)
    try:
        if inspect.iscoroutinefunction(function):
            asyncio.run(function())
        else:
            function()
    finally:
        signal.alarm(0)


def run():
    signal.signal(signal.SIGALRM, late)
    for function in checks:
        name = function.__name__.replace("_", " ")
        try:
            perform(function)
            print(f"ok {name}", flush=True)
        except Exception as error:
            where = [f"{f.name}:{f.lineno}" for f in traceback.extract_tb(error.__traceback__) if "python/" in f.filename]
            why = " ".join(f"{type(error).__name__} {error}".split())
            print(f"not ok {name}: {why} ({', '.join(where[2:])})", flush=True)
    print(f"1..{len(checks)}")
