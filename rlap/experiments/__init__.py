"""Runs and what they leave behind: checked parameters, records, the runner."""
