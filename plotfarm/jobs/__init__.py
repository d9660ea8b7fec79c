"""One module for each command that cron, ssh or a person starts: the order of the steps, nothing else."""
