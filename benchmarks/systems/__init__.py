"""What Impasto is compared with: every system learns from the same images through the same few calls."""
