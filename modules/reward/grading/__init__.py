"""Grades mathematical answers by value: pure Python, exact, deterministic.

`extract` finds the answer in a completion, `tokens` and `parse` read it as one of the kinds in
`values`, whose numbers are the exact expressions of `algebra`; `compare` says whether two of them
are equal, and `judge` puts it together for one attempt.
"""
