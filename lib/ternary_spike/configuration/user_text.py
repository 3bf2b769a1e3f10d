"""Text files that users write, from whatever editor or spreadsheet they come."""

from pathlib import Path

from ternary_spike.system.errors import UserError


def read_user_text(path: Path) -> str:
    """A file that a user wrote: UTF-8, without the byte-order mark that spreadsheets and some editors put first.

    Line ends stay as they are.

    Raises:
        UserError: if it is in another encoding, such as Latin-1 or UTF-16.
        OSError: if it cannot be read.
    """
    content = Path(path).read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        found = "UTF-16" if content.startswith((b"\xff\xfe", b"\xfe\xff")) else "another encoding, perhaps Latin-1"
        raise UserError(f"{path}, line {line}: not UTF-8 but {found}; save the file as UTF-8") from None
    if "\0" in text:
        raise UserError(f"{path}: not UTF-8 but UTF-16 or no text at all; save the file as UTF-8")
    return text
