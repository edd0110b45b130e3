"""VNN-COMP instances: a network and a VNN-LIB query in, `unsat | sat | unknown | timeout` out.

Beside `run/vnnlib.py` and `query/vnnlib` the only place where `sat` and `unsat` are words.
"""
