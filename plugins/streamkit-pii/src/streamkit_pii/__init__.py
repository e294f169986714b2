"""Personal data does not leave: rules for `streamkit.Moderate` with the detectors of phonenumbers and python-stdnum.

    pipeline = sk.Parse() | sk.Extract() | redact(countries=("US", "DE")) | sk.Accumulate()

Everything that is found was checked by what its makers publish: a number's plan, a checksum, a date of birth that exists.
"""

from streamkit_pii.redaction import COUNTRIES, KINDS, redact, rules
from streamkit_pii.searches import NationalIds, Numbers, Phones

STREAMKIT_API = 1
"""The version of streamkit's plugin interface that this was written for."""

__all__ = ["COUNTRIES", "KINDS", "NationalIds", "Numbers", "Phones", "redact", "rules"]
