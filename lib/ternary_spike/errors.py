"""The one exception that stands for a user's mistake rather than a bug of ours."""


class UserError(Exception):
    """Something the user can mend: a misspelt setting, a corrupt file, a full disk.

    Its message is a single line that names the file or setting, says what is wrong and what to do. The command line
    prints it without a traceback and exits with status 2.
    """
