"""What Chia itself says: its log, its configuration, coins."""
