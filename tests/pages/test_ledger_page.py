"""The page of the ledger tells why a claim is open, and in which unit."""

from __future__ import annotations

import made_up

from rlap.ledger.verdicts import INCONCLUSIVE, REPRODUCED
from rlap.pages import asked, ledger, words


def test_a_claim_tells_in_brief_why_it_is_open():
    not_after = "surely above, but not after Holm's correction (p = 0.167)"
    row = {"verdict": INCONCLUSIVE, "reason": f"worst of 5: rate 0.9; {not_after}"}
    assert ledger.in_brief(row) == f"worst of 5 settings; {not_after}"
    row = {"verdict": REPRODUCED, "reason": "surely above"}
    assert ledger.in_brief(row) == ""
    row = {"verdict": REPRODUCED, "reason": "worst of 1: rate 0.9; surely above"}
    assert ledger.in_brief(row) == ""


def test_what_a_claim_came_to_has_a_unit():
    of = {"ours": 0.5, "low": 0.4, "high": 0.6}
    assert ledger.came_to({"unit": "", **of}) == "AUROC 0.50 [0.40, 0.60]"
    told = words.claim({"unit": "scale", **of})
    assert told == "+0.50 [+0.40, +0.60] on a scale from 0 to 1"
    told = words.claim({"unit": "deviations", **of})
    assert told == "0.500 [0.400, 0.600] standard deviations"


def test_a_verdict_counts_once_for_each_place(tmp_path):
    """The gain of F-FT is sure in two protocols: two verdicts on one number."""
    made = [r for name in ("released", "controlled")
            for r in made_up.seeds(3, protocol=name, rate=0.5, level=8.0)]  # fmt: skip
    made_up.save(tmp_path, *made)
    book = asked.Book(tmp_path)
    small, every, alone = (
        int(asked.ask("number", name, book))
        for name in ("count: decided small", "count: decided everywhere",
                     "decided: released, reproduced")
    )  # fmt: skip
    assert small == every > alone > 0


def test_the_claims_in_short_show_their_rules(tmp_path):
    made_up.save(tmp_path, *made_up.seeds(3, rate=0.5, level=8.0))
    book = asked.Book(tmp_path)
    frame = asked.ask("table", "claims in short: paper", book).frame
    first = frame.loc[0, "claim"]
    assert first.startswith("F-FT beats retraining by about 10 points<br>")
    assert "surely more than 8 points" in first
