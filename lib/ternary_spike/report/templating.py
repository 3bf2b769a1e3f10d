"""The templates of pages and notebooks."""

from pathlib import Path

import jinja2


def environment() -> jinja2.Environment:
    """Jinja with this package's templates: text is escaped unless marked as HTML, and a missing value is an error."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
