"""The papers' numbers and claims, the evidence, and the verdicts. Knows no HTML."""
