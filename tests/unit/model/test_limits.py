"""A limit says what is too much of what."""

from harness.model.limits import Limit

PAGES = Limit(what="a book", most=1000, unit="pages")


def test_what_is_within_the_limit_is_no_excess() -> None:
    assert PAGES.excess(1000) == ""


def test_an_excess_names_amount_limit_and_thing() -> None:
    assert PAGES.excess(1_001) == "1,001 pages, at most 1,000 are taken of a book"
