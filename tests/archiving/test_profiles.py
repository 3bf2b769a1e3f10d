"""An archive is what the profiles of RO-Crate ask for, by the validator of their authors and without a network."""

import io
import json
from pathlib import Path

import pytest
import rocrate

CONTEXT = "https://w3id.org/ro/crate/1.1/context"


def remember_context(cache: Path) -> None:
    """Put the meaning of RO-Crate's terms where the validator keeps what it has fetched.

    The library brings version 1.3 of it, which has four terms in another place than 1.1 has.
    """
    import requests
    import urllib3
    from requests_cache import CachedSession

    text = (Path(rocrate.__file__).parent / "data/ro-crate.jsonld").read_text(encoding="utf-8")
    text = text.replace("https://bioschemas.org/terms/", "https://bioschemas.org/")
    assert "ComputationalWorkflow" in json.loads(text)["@context"]
    response = requests.Response()
    body = io.BytesIO(text.encode())
    response.raw = urllib3.HTTPResponse(body=body, status=200, preload_content=False, request_url=CONTEXT)
    response.status_code, response.url = 200, CONTEXT
    response.headers["Content-Type"] = "application/ld+json"
    response.request = requests.Request("GET", CONTEXT).prepare()
    CachedSession(str(cache)).cache.save_response(response)


@pytest.mark.full
@pytest.mark.parametrize("profile", ["workflow-run-crate", "workflow-ro-crate"])
def test_the_validator_finds_nothing_that_is_required_to_be_missing(made, tmp_path, profile):
    from rocrate_validator import models, services

    from ternary_spike.archiving.packing import pack

    pack(made / "results/small", tmp_path / "small.zip", "none", made)
    remember_context(tmp_path / "cache")
    settings = services.ValidationSettings(
        rocrate_uri=models.URI(str(tmp_path / "small.zip")),
        profile_identifier=profile,
        requirement_severity=models.Severity.REQUIRED,
        offline=True,
        cache_path=tmp_path / "cache",
    )
    found = services.validate(settings)
    assert [f"{issue.check.identifier}: {issue.message}" for issue in found.get_issues()] == []
