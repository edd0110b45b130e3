"""Answers kept between runs, in SQLite: docs/decisions/029-kept-answers.md."""
