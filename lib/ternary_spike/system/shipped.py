"""Where the repository's own files lie that verbs are told of by a path: recipes, method sheets, run tables, notebooks.

In a checkout they lie where git has them. A wheel has copies of their folders within the package, made when it is built
(``tool.hatch`` in pyproject.toml); nothing is kept twice.
"""

from pathlib import Path

PACKAGE = Path(__file__).parents[1]
#: the folders, relative to the repository, that a wheel has copies of
FOLDERS = ("config", "notebooks", "results/reference", "workflow/schemas")
#: where, within the package
COPIES = "repository"


def repository() -> Path:
    """The folder that holds :data:`FOLDERS`: the checkout, or in an installed package that of the copies."""
    copies = PACKAGE / COPIES
    return copies if copies.is_dir() else PACKAGE.parents[1]


def located(name: str | Path) -> Path:
    """A path as a user gives it: relative to the working directory, or else to the repository.

    Args:
        name: such as ``config/recipes/digits.yaml``, which is found from everywhere unless the working directory has
            such a file itself. What is in neither stays as it is, for messages to name it so.
    """
    here, shipped = Path(name), repository() / name
    return here if here.exists() or not shipped.exists() else shipped
