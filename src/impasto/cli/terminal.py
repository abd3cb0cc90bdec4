"""Progress of a training run on the terminal, see `impasto.terminal`."""

from impasto.terminal import Terminal as Terminal
from impasto.terminal import duration as duration
