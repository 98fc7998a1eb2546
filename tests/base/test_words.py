import pytest

from last_cli.base.words import some, suggestion


@pytest.mark.parametrize(
    ("count", "said"), [(0, ""), (1, "a"), (3, "a, b, c"), (4, "a, b, c and 1 more"), (7, "a, b, c and 4 more")]
)
def test_the_first_names_and_how_many_more(count: int, said: str) -> None:
    assert some("abcdefg"[:count]) == said


def test_another_number_of_names() -> None:
    assert some(["one", "two", "three"], most=1) == "one and 2 more"


def test_a_typo_and_what_it_may_mean() -> None:
    assert suggestion("hing", ["last", "hinf"]) == "did you mean 'hinf'? "
    assert suggestion("zzzz", {"last": 1, "hinf": 2}) == ""
