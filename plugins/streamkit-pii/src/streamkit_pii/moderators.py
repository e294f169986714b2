"""The checks for rule files, by name: `check = "pii-iban"`."""

from streamkit_pii.numbers import NATIONAL
from streamkit_pii.searches import NationalIds, Numbers, Phones

STREAMKIT_API = 1

card = Numbers("card")
iban = Numbers("iban")
phone = Phones()
national_id = NationalIds(tuple(NATIONAL))
