"""Redaction of personal data: rules for `streamkit.Moderate` with the detectors of phonenumbers and python-stdnum.

    pipeline = sk.Parse() | sk.Extract() | redact(countries=("US", "DE")) | sk.Accumulate()

Every match is validated by the published rules for such numbers: a numbering plan, a checksum, or a valid date of birth.
"""

from streamkit_pii.redaction import COUNTRIES, KINDS, redact, rules
from streamkit_pii.searches import NationalIds, Numbers, Phones

STREAMKIT_API = 1
"""The version of streamkit's plugin API that this package was written for."""

__all__ = ["COUNTRIES", "KINDS", "NationalIds", "Numbers", "Phones", "redact", "rules"]
