"""The systems that Impasto is compared with; all train on the same images through one interface."""
