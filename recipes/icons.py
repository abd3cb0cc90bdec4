"""The built-in model `icons`: every collection is a style; images have transparency and follow a text.

python recipes/icons.py DATA --out runs/icons

DATA is the folder with emoji128.zip, icons128.zip and tiles32.zip. Phase 1 trains the whole model. Phase 2 (finish.py)
trains the decoder alone on almost noise-free latents. Phase 3 trains the decoder alone to stylize, on destylised pairs
and swaps. Phases 2 and 3 keep the encoders and the prior.

The minutes and batch sizes of phase 1 are those of a fast GPU. A CPU needs days, or a smaller setting: --minutes 1200
28 105 --resolution 64 --batch-size 16 --prior-batch-size 64. The same command resumes an interrupted run; phase 2 then
starts again.
"""

from gather import Phase, Recipe, main

ICONS = {"--objective.kl-weight": 2e-6, "--text": ""}
STYLIZATION = {
    "--stage1-share": 1,
    "--batch-size": 16,
    "--learning-rate": 5e-4,
    "--objective.freeze-encoders-after": 0,
    "--objective.feature-start": 0,
    "--objective.feature-weight": 0.3,
    "--objective.stylization-start": 0,
    "--objective.swap-weight": 0.1,
    "--objective.destylized-weight": 0.5,
}
RECIPE = Recipe(
    archives=("emoji128", "icons128", "tiles32"),
    phases=(
        Phase(11.6, ICONS | {"--stage1-share": 0.4}),
        Phase(28.0, script="finish.py"),
        Phase(105.0, ICONS | STYLIZATION),
    ),
    batch_size=128,
    prior_batch_size=256,
)

if __name__ == "__main__":
    main(RECIPE, __doc__)
