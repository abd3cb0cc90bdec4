"""The built-in model of painters: fully convolutional, to redraw and to fuse photos of any size.

python recipes/painter.py DATA --out runs/painter

DATA is the folder with paintings224.zip and photos.zip. The minutes and batches are those of a fast GPU; on a CPU:
--minutes 600 --batch-size 16 --prior-batch-size 64. Interrupted, the same command goes on.
"""

from gather import cook

if __name__ == "__main__":
    cook(__doc__, ("paintings224", "photos"), 11.6, *("--preset", "painter"), *("--objective.kl-weight", 2e-6))
