"""The one exception people see."""


class CrmError(Exception):
    """A sentence for the person at the terminal: where, what is wrong, what would be right.

    The command line prints it as ``error: <message>`` and exits 1, without a traceback.
    """
