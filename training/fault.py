"""The one error a user is meant to read: a line on stderr and exit code 2, never a traceback."""


class Fault(Exception):
    """Bad arguments or bad data, said in one sentence."""
