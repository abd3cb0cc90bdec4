"""The one error that is meant for the person at the keyboard."""


class ImpastoError(ValueError):
    """Something in the input is wrong; the message names the file or flag and the way out.

    The command line prints the message without a traceback and exits with code 2.
    """
