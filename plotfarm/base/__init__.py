"""Configuration, locks, state, commands, ssh, errors and units: what every other room stands on."""
