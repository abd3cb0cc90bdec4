"""The built-in model of icons: every collection a style, with transparency, to be asked for by text.

python recipes/icons.py DATA --out runs/icons

DATA is the folder with emoji128.zip, icons128.zip and tiles32.zip. The first course makes the whole model; its minutes
and batches are those of a fast GPU, a CPU wants days, or less to do: --minutes 1200 28 105 --resolution 64
--batch-size 16 --prior-batch-size 64. In the second (finish.py) the decoder alone learns to paint cleanly, in the third
to stylize, from plain twins and mixtures; encoders and prior stay as they are. Interrupted, the same command goes on,
but for the second course, which begins again.
"""

from gather import Course, cook

ICONS = {"--objective.kl-weight": 2e-6, "--text": ""}
REDRAWS = ICONS | {
    "--stage1-share": 1,
    "--batch-size": 16,
    "--learning-rate": 5e-4,
    "--objective.encoders-until": 0,
    "--objective.feature-start": 0,
    "--objective.feature-weight": 0.3,
    "--objective.mixture-start": 0,
    "--objective.mixture-weight": 0.1,
    "--objective.twin-weight": 0.5,
    "--objective.adversarial-weight": 0,
}

if __name__ == "__main__":
    cook(
        __doc__,
        ("emoji128", "icons128", "tiles32"),
        Course(11.6, ICONS | {"--stage1-share": 0.4}),
        Course(28.0, script="finish.py"),
        Course(105.0, REDRAWS),
        batches=(128, 256),
    )
