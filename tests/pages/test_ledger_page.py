"""The page of the ledger tells why a claim is open, and in which unit."""

from __future__ import annotations

import made_up

from rlap.ledger.claims import CONTROL, PAPER
from rlap.ledger.verdicts import INCONCLUSIVE, REPRODUCED
from rlap.pages import asked, words
from rlap.pages.ledger import claims


def test_a_claim_tells_in_brief_why_it_is_open():
    not_after = "surely above, but not after Holm's correction (p = 0.167)"
    row = {"verdict": INCONCLUSIVE, "reason": f"worst of 5: rate 0.9; {not_after}"}
    assert claims.in_brief(row) == f"worst of 5 settings; {not_after}"
    row = {"verdict": REPRODUCED, "reason": "surely above"}
    assert claims.in_brief(row) == ""
    row = {"verdict": REPRODUCED, "reason": "at level 9; surely above"}
    assert claims.in_brief(row) == ""


def test_an_opened_verdict_says_nothing_twice():
    reason = "pruned minus initial network 0.0 points; worst of 5: level 9; not sure"
    row = {"verdict": INCONCLUSIVE, "reason": reason, "n": 3, "family": "controls"}
    brief, rest = claims.in_brief(row), claims.the_rest(row)
    assert brief == "worst of 5 settings; not sure"
    assert rest == "pruned minus initial network 0.0 points; the worst: level 9; n = 3"
    shown = claims.verdict_of(row)
    assert shown.count(brief) == shown.count("n = 3") == 1
    assert "<br>" not in shown and "<small></small>" not in shown
    row |= {"reason": "2 of 8 settings run; surely above zero"}
    assert claims.in_brief(row) == "2 of 8 settings run"
    row |= {"reason": "one seed; a verdict needs 3", "n": 1}
    assert claims.in_brief(row) == "one seed"
    assert claims.the_rest(row) == "a verdict needs 3; n = 1"


def test_a_rule_has_the_words_of_its_familys_verdicts():
    rule = "reproduced: surely above zero; contradicted: else; inconclusive where not"
    row = {"rule": rule, "family": CONTROL}
    own = "holds: surely above zero; fails: else; open where not"
    assert claims.rule_told(row) == own
    assert claims.rule_told(row | {"family": PAPER}) == rule


def test_what_a_claim_came_to_has_a_unit():
    of = {"ours": 0.5, "low": 0.4, "high": 0.6}
    assert claims.came_to({"unit": "", **of}) == "AUROC 0.50 [0.40, 0.60]"
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
