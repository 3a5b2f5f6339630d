"""What cells print is rounded, and as nested as it was."""

from __future__ import annotations

from rlap.figures.printed import pprint, rounded


def test_floats_have_few_digits_and_all_else_is_as_it_was(capsys):
    found = {"retain": 0.6349999904632568, "lr": None, "rows": [(1234567, -0.00012349)]}
    assert rounded(found) == {
        "retain": 0.635, "lr": None, "rows": [(1234567, -0.0001235)]
    }  # fmt: skip
    pprint({"b": 1 / 3, "a": "text", "yes": True})
    assert capsys.readouterr().out == "{'a': 'text', 'b': 0.3333, 'yes': True}\n"
