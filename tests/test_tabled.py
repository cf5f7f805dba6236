"""The table of `lit_ae test`."""

from __future__ import annotations

from lit_ae.jobs.tabled import Row, digits, table


def test_numbers_have_the_digits_that_their_error_supports() -> None:
    assert Row("a", "a", -95.268, "nats", 0.7537).number() == ("-95.27", "± 0.75")
    assert Row("a", "a", 12345.678, "", 234.5).number() == ("12,346", "± 234")
    assert Row("a", "a", 0.98765, "%", 0.0123).number() == ("98.8", "± 1.2")
    assert Row("a", "a", 30.3779).number() == ("30.38", "")
    assert Row("a", "a", 2).number() == ("2", "")
    assert Row("a", "a", float("nan"), "", float("nan")).entries() == {"a": None, "a_standard_error": None}
    assert [digits(value, 2) for value in (0.0996, 0.1, 9.96, 150.0, 0.0)] == [2, 2, 0, 0, 1]
    lines = table({"One": [Row("a", "first", 1.5, source="2 samples"), Row("b", "b", 22, source="1 sample")]})
    assert lines[0] == "One: 2 samples"
    assert lines[1].index(".") == lines[2].index("22") + 2
    assert lines[2].endswith("  1 sample")
