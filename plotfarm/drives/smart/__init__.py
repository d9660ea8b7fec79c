"""What the disks say about themselves: their SMART data, read by smartctl and pySMART, and remembered."""
