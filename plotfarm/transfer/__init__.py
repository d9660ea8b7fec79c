"""How a plot travels, from its source to its own name on a drive; not which drive, nor when.

Begin with `receive.py` and `send.py`, the two sides of a journey as generators of effects, and `move.py`, the journey
on one host. `effects.py` lists the steps, `messages.py` what the two ends say, `outcomes.py` what can become of a plot.
`disk.py` and `source.py` carry effects out on real files; `receiver.py`, `sender.py` and `mover.py` drive the journeys.
"""
