"""A model of painters: fully convolutional, to stylize and to fuse photos of any size.

python recipes/painter.py DATA --out runs/painter --processes 2

DATA is the folder with paintings224.zip and photos.zip. The first course begins with the weights of `icons`, but for a
prior of its own: a small one, as most of an image is told when it is stylized. In the second the decoder alone learns
to stylize, from plain twins and mixtures; encoders and prior stay as they are. The minutes and batches are those
of a CPU. Interrupted, the same command goes on.
"""

from gather import Course, cook

PAINTER = {"--preset": "painter", "--objective.kl-weight": 2e-6}
FIRST = PAINTER | {
    "--start-from": "icons",
    "--objective.mixture-start": 0.3,
    "--objective.twin-weight": 0,
    "--objective.adversarial-weight": 0.2,
}
REDRAWS = PAINTER | {
    "--stage1-share": 1,
    "--learning-rate": 5e-4,
    "--objective.encoders-until": 0,
    "--objective.feature-start": 0,
    "--objective.mixture-start": 0,
}

if __name__ == "__main__":
    cook(
        __doc__,
        ("paintings224", "photos"),
        Course(100.0, FIRST),
        Course(100.0, REDRAWS),
        batches=(16, 64),
        prior_learning_rate=1e-3,
    )
