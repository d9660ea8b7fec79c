"""Facts turned into what a person reads: console text, progress, JSON."""
