"""The one exception that stands for a user's mistake rather than a bug of ours."""


class UserError(Exception):
    """Something the user can mend: a misspelt setting, a corrupt file, a full disk.

    Its message is a single line that names the file or setting, says what is wrong and what to do. The command line
    prints it without a traceback and exits with status 2.
    """

    def __init__(self, message: str) -> None:
        # a library's own words, which many messages quote, may run over several lines
        super().__init__(" ".join(line.strip() for line in message.splitlines()))
