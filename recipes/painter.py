"""The built-in model `painter`: fully convolutional, stylizes and fuses photos of any size.

python recipes/painter.py DATA --out runs/painter --processes 2

DATA is the folder with paintings224.zip and photos.zip. Phase 1 starts from the weights of `icons`, except for the
prior: this one is new and small, because an image to be stylized leaves little to sample. Phase 2 trains the decoder
alone to stylize, on destylised pairs and swaps; it keeps the encoders and the prior.

The minutes and batch sizes are those of a CPU. The same command resumes an interrupted run.
"""

from gather import Phase, Recipe, main

PAINTER = {"--preset": "painter", "--objective.kl-weight": 2e-6}
STYLIZATION = {
    "--stage1-share": 1,
    "--learning-rate": 5e-4,
    "--objective.freeze-encoders-after": 0,
    "--objective.feature-start": 0,
    "--objective.stylization-start": 0,
}
RECIPE = Recipe(
    archives=("paintings224", "photos"),
    phases=(
        Phase(
            100.0,
            PAINTER | {"--init": "icons", "--objective.stylization-start": 0.3, "--objective.destylized-weight": 0},
        ),
        Phase(100.0, PAINTER | STYLIZATION),
    ),
    batch_size=16,
    prior_batch_size=64,
    prior_learning_rate=1e-3,
)

if __name__ == "__main__":
    main(RECIPE, __doc__)
