"""The INI configuration `plot_manager_config`: what may stand in it, reading it, writing back to it."""
