"""A model of painters: fully convolutional, to redraw and to fuse photos of any size.

python recipes/painter.py DATA --out runs/painter --processes 2

DATA is the folder with paintings224.zip and photos.zip. It begins with the weights of `icons`, but for a prior of its
own: a small one, as most of a picture is told when it is redrawn. The minutes and batches are those of a CPU.
Interrupted, the same command goes on.
"""

from gather import cook

if __name__ == "__main__":
    cook(
        __doc__,
        ("paintings224", "photos"),
        *("--preset", "painter"),
        *("--start-from", "icons"),
        *("--objective.kl-weight", 2e-6),
        *("--objective.mixture-start", 0.3),
        minutes=100.0,
        batches=(16, 64),
        prior_learning_rate=1e-3,
    )
