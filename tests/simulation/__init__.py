"""The journey of a plot on a model of drives, under every fault, and the proof that the model is like Linux.

Begin with `filesystem.py` (one drive) and `inodes.py` (one file on it); `places.py` has mount points and aliases,
`people.py` what users do to files. `compare.py` runs the same random operations on the model and on real drives.
"""
