"""The built-in model of icons: every maker a style, with transparency, to be asked for by text.

python recipes/icons.py DATA --out runs/icons

DATA is the folder with emoji128.zip, icons128.zip and tiles32.zip. The minutes and batches are those of a fast GPU; a
CPU wants days, or less to do: --minutes 1200 --resolution 64 --batch-size 16 --prior-batch-size 64. Interrupted, the
same command goes on. Then recipes/finish.py gives the decoder its last minutes.
"""

from gather import cook

if __name__ == "__main__":
    cook(
        __doc__,
        ("emoji128", "icons128", "tiles32"),
        {"--objective.kl-weight": 2e-6, "--stage1-share": 0.4, "--text": ""},
        minutes=11.6,
        batches=(128, 256),
    )
