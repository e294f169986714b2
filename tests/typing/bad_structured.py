"""A wrong use of structured output: every line that ends in `# error` is one, in both checkers."""

import msgspec

import streamkit as sk


class City(msgspec.Struct):
    """A place."""

    name: str


cities = sk.Structured(City)
_ = sk.Structured("City")  # error
_ = sk.Structured(City, errors="ignore")  # error
_ = sk.Structured(City, every_chars="10")  # error
_ = sk.Structured(City) | sk.Parse()  # error


def wrong(event: sk.Event) -> None:
    city = cities.value_of(event)
    print(city.name)  # error
    text: str | None = cities.value_of(event)  # error
    print(text)
