"""What the daemon tells of itself: logs, metrics, GPU samples, systemd."""
