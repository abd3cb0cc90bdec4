"""The error for problems that the user can solve."""


class ImpastoError(ValueError):
    """Invalid input; the message names the file or flag and the remedy.

    The command line prints the message without a traceback and exits with code 2.
    """
