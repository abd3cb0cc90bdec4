"""Do stylized clips hold still? How they move against their content, steadied over time and each frame alone, as JSON.

python benchmarks/clips.py painter bunny.mp4 sintel.mp4 --style alfred-sisley --out clips

`frame_difference` of `impasto.create.clip`: 0 where the stylized clip changes from frame to frame as its content does.
"""

import dataclasses
from pathlib import Path

from common import options, write
from impasto import api
from impasto.config import StylizeConfig, flat


def main() -> None:
    """Stylize each clip in both ways, compare, print."""
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
        found = {}
        for name, smoothing in (("alone", False), ("steady", True)):
            target = folder / f"{clip.stem}-{name}.webm"
            target.unlink(missing_ok=True)
            stylized = model.stylize_clip(clip, target, dataclasses.replace(settings, temporal_smoothing=smoothing))
            assert stylized.difference is not None
            found[name] = stylized.difference
        result[clip.name] = found | {"less": 1 - found["steady"] / found["alone"]}
        print(clip.name, result[clip.name], flush=True)
    write(result, folder / "clips.json")


if __name__ == "__main__":
    main()
