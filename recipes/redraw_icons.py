"""A second course for the decoder of `icons`: it alone learns to redraw, from plain twins and mixtures.

python recipes/redraw_icons.py DATA --out runs/icons-redraws

Begins with runs/icons/finished.safetensors, which recipes/icons.py and recipes/finish.py made; encoders and prior stay
as they are. The minutes and batches are those of one CPU core with AVX-512. Interrupted, the same command goes on.
"""

from gather import cook

if __name__ == "__main__":
    cook(
        __doc__,
        ("emoji128", "icons128", "tiles32"),
        {
            "--start-from": "runs/icons/finished.safetensors",
            "--text": "",
            "--stage1-share": 1,
            "--learning-rate": 5e-4,
            "--objective.kl-weight": 2e-6,
            "--objective.encoders-until": 0,
            "--objective.feature-start": 0,
            "--objective.feature-weight": 0.3,
            "--objective.mixture-start": 0,
            "--objective.mixture-weight": 0.1,
            "--objective.twin-weight": 0.5,
            "--objective.adversarial-weight": 0,
        },
        minutes=105.0,
        batches=(16, 64),
    )
