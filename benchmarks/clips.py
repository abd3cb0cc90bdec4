"""Temporal stability of stylized clips: differences between frames with and without temporal smoothing, as JSON.

python benchmarks/clips.py painter bunny.mp4 sintel.mp4 --style alfred-sisley --out clips

The measure is `impasto.create.clip.frame_difference`: 0 if the stylized clip changes from frame to frame as its
content does.
"""

import dataclasses
from pathlib import Path

from common import options, write
from impasto import api
from impasto.config import StylizeConfig, flat


def main() -> None:
    """Stylize each clip with and without smoothing, compare, print."""
    parser = options(__doc__)
    parser.add_argument("model")
    parser.add_argument("clips", type=Path, nargs="+")
    parser.add_argument("--style", nargs="+", required=True)
    parser.add_argument("--strength", type=float, default=0.5)
    parser.add_argument("--device", default="auto")
    parser.set_defaults(out=Path("clips"))
    arguments = parser.parse_args()
    folder: Path = arguments.out
    folder.mkdir(parents=True, exist_ok=True)
    model = api.load(arguments.model, arguments.device)
    settings = flat(StylizeConfig, style=tuple(arguments.style), strength=arguments.strength)
    result: dict[str, object] = {}
    for clip in arguments.clips:
        differences = {}
        for name, smoothing in (("frame-by-frame", False), ("smoothed", True)):
            target = folder / f"{clip.stem}-{name}.webm"
            target.unlink(missing_ok=True)
            stylized = model.stylize_clip(clip, target, dataclasses.replace(settings, temporal_smoothing=smoothing))
            assert stylized.difference is not None
            differences[name] = stylized.difference
        reduction = 1 - differences["smoothed"] / differences["frame-by-frame"]
        result[clip.name] = differences | {"reduction": reduction}
        print(clip.name, result[clip.name], flush=True)
    write(result, folder / "clips.json")


if __name__ == "__main__":
    main()
