"""A query as linear constraints with integrality: its rows, its solvers, and what they decide.

`encode` and `cases` put a graph on an input set into a `model/`, op by op by `rules/`.
`tightening/` narrows its intervals and adds rows; `solvers/` minimise it; `deciding/` draws
verdicts.
"""
