"""The papers' numbers and claims, the evidence, and the verdicts. Knows no HTML.

``paper`` holds what is printed; ``cells`` what a record says of it; ``evidence`` files
the records, which ``integrity`` has examined; ``verdicts`` has the rules. ``rows``,
``orderings`` and ``claims`` are judged by them; ``differences`` is the register of what
words, code and good practice do not share. ``tables`` keeps all of it on disk, and
``counts`` says what many rows say together.
"""
