"""docs/datasets.md says what the code does."""

import re

from ternary_spike.data import imagenet, registry
from ternary_spike.data.cifar import JPEG_COPY_SHA256
from tests.helpers.datasets_doc import PAGE, renewed


def test_the_tables_are_those_of_the_code():
    page = PAGE.read_text(encoding="utf-8")
    assert renewed(page) == page, "run: PYTHONPATH=lib:. python -m tests.helpers.datasets_doc"


def test_the_page_names_what_the_preflight_counts():
    page = PAGE.read_text(encoding="utf-8")
    for number in (imagenet.CLASSES, *imagenet.PICTURES.values()):
        assert f"{number:,}" in page
    assert all(sha256 in page for sha256 in JPEG_COPY_SHA256.values())


def test_the_pages_commands_name_known_datasets_sources_and_options():
    page = PAGE.read_text(encoding="utf-8")
    commands = re.findall(r"python -m ternary_spike (?:prepare|download) (.*)", page)
    assert len(commands) >= 5
    for command in commands:
        dataset = re.search(r"--dataset (\S+)", command)[1]
        known = registry.describe(dataset)
        for source in re.findall(r"--source (\S+)", command):
            assert source in known.sources
        options = dict(re.findall(r"--option (\w+)=(\S+)", command))
        registry.availability(dataset, None, "nowhere", options)
