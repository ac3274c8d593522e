"""Benchmarks: the engine and its peers do the same work, in one process, by turns.

``python -m benchmarks`` runs them.
"""
