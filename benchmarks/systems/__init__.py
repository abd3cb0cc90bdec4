"""What Impasto is compared with: every system learns from the same pictures through the same few calls."""
