"""The OpenAPI document in the tree is the one that the code makes."""

from pathlib import Path

import yaml
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from drf_spectacular.renderers import OpenApiYamlRenderer

ROOT = Path(__file__).resolve().parents[2]
DOCUMENT = ROOT / "docs" / "api" / "openapi.yaml"
COMMAND = "python manage.py spectacular --urlconf apps.api.schema_urls --file docs/api/openapi.yaml"


def _generated() -> str:
    schema = SchemaGenerator(urlconf="apps.api.schema_urls").get_schema(request=None, public=True)
    return OpenApiYamlRenderer().render(schema, renderer_context={}).decode()


def test_the_document_is_the_one_the_code_makes():
    """Clients are generated from this file; a changed route without a changed file would break them unseen."""
    assert DOCUMENT.read_text() == _generated(), f"The API changed; run '{COMMAND}' and read what differs."


def test_nothing_is_guessed():
    """A warning of the generator is a place where the document says something the code does not."""
    with GENERATOR_STATS.silence():
        GENERATOR_STATS.reset()
        _generated()
        assert not GENERATOR_STATS, "Run the command with --fail-on-warn to read the warnings."


def test_every_operation_says_how_it_fails_and_who_may():
    """Each operation has a name of its own, a key, and the form of its problems."""
    paths = yaml.safe_load(DOCUMENT.read_text())["paths"]
    operations = [operation for methods in paths.values() for operation in methods.values()]
    names = [operation["operationId"] for operation in operations]
    assert len(names) == len(set(names)) > 0
    for operation in operations:
        assert operation["security"] == [{"apiKey": []}], operation["operationId"]
        assert "application/problem+json" in operation["responses"]["default"]["content"], operation["operationId"]
