"""A throw-away farm on one machine: real plots, a private sshd, a plotter and a NAS side by side.

The demo, the tests and the benchmarks stand on it; nothing that runs on a farm imports it.
"""
