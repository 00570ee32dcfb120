"""The one error that is meant for the user."""


class InputError(ValueError):
    """Something the user gave is wrong; the message says what, where, what was expected and what to do."""
