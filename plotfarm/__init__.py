"""What the scripts of Chia Plot Manager share; the rooms are listed in the README."""

__version__ = "1.0.0"
