"""
Pricing documents: from text to a plan that can be stored, with every problem named at once.

The way of a document: `loading` reads YAML or JSON without guessing, `schema` says what may stand where, `checks` says
what a schema cannot, `canonical` writes down the one form that is hashed, stored and compared, and
`exporting` writes it as a file. `tier_files` reads the shape that other houses use.
"""

from apps.plans.documents.canonical import CanonicalPlan, FeatureTerms, PlanExample, differences
from apps.plans.documents.exporting import document_text
from apps.plans.documents.loading import FORMATS, load_text
from apps.plans.documents.schema import pricing_document_schema, schema_text
from apps.plans.documents.validation import validate

__all__ = [
    "FORMATS",
    "CanonicalPlan",
    "FeatureTerms",
    "PlanExample",
    "differences",
    "document_text",
    "load_text",
    "pricing_document_schema",
    "schema_text",
    "validate",
]
