"""The one base class of errors that a user can cause and mend."""


class A2SError(Exception):
    """Something the user asked for cannot be done; the message is one clear line, shown without a traceback."""


class InterruptionError(A2SError):
    """Somebody stopped it; the message says what is kept, and how to go on."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or the error's kind where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
