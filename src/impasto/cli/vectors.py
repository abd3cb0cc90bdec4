"""impasto encode and impasto decode: from images to latents and back."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from tyro.conf import Positional, arg

from impasto.cli.device import DEVICE, DeviceFlags
from impasto.cli.flags import RUN_HELP
from impasto.cli.messages import MESSAGES, MessageFlags
from impasto.cli.outputs import (
    OUT,
    Out,
    check_exist,
    check_folder,
    check_free,
    counted,
    file_names,
    free_for_image,
    written,
)
from impasto.errors import ImpastoError


@dataclass(frozen=True)
class Encode:
    """Write the latents of images to a file, one array per level.

    impasto encode runs/emoji mine/*.png --out vectors.npz
    """

    run_folder: Annotated[Positional[Path], arg(metavar="RUN", name="run", help=RUN_HELP)]
    images: Annotated[Positional[tuple[Path, ...]], arg(metavar="IMAGES ...", help_behavior_hint="(at least one)")]
    """Images to encode: files, folders or archives."""
    out: Out
    """File to write: .npz, or .parquet if pyarrow is installed."""
    device: DeviceFlags = DEVICE
    message: MessageFlags = MESSAGES

    def run(self) -> int:
        """Encode and write; returns the exit code."""
        if self.out.is_dir():
            raise ImpastoError(f"--out {self.out} is a folder: use a .npz or .parquet file.")
        from impasto.create.vectors import check_writable

        check_writable(self.out)
        check_exist(self.images)
        model = self.device.load(self.run_folder)
        latents = model.encode(model.read(self.images, [self.message.warn]))
        latents.save(self.out)
        shapes = ", ".join(f"{name} {'x'.join(map(str, v.shape[1:]))}" for name, v in latents.levels.items())
        levels = {name: values.shape[1:] for name, values in latents.levels.items()}
        self.message.record(path=self.out, images=len(latents.names), levels=levels)
        self.message.text(f"{self.out}: {counted(len(latents.names), 'image')}, {shapes}")
        return 0


@dataclass(frozen=True)
class Decode:
    """Decode the latents of a file from impasto encode, which may be edited.

    impasto decode runs/emoji vectors.npz --out decoded
    """

    run_folder: Annotated[Positional[Path], arg(metavar="RUN", name="run", help=RUN_HELP)]
    vectors: Annotated[Positional[Path], arg(metavar="VECTORS")]
    """File of latents, .npz or .parquet."""
    out: Out = OUT
    """Folder to write to."""
    device: DeviceFlags = DEVICE
    message: MessageFlags = MESSAGES

    def run(self) -> int:
        """Decode and write one image per name; returns the exit code."""
        from impasto.create.recipe import save_image
        from impasto.create.vectors import Latents

        check_folder(self.out)
        latents = Latents.load(self.vectors)
        wanted = [self.out / name for name in file_names(latents.names, ".png")]
        check_free(wanted)
        model = self.device.load(self.run_folder)
        if model.fingerprint != latents.fingerprint:
            raise ImpastoError(
                f"{self.vectors} belongs to another model: its fingerprint is {latents.fingerprint}, that of "
                f"{self.run_folder} is {model.fingerprint}."
            )
        progress = self.message.progress("decoding", len(wanted))
        paths: list[Path] = []
        for path, (name, image) in zip(wanted, progress.over(model.decode(latents)), strict=True):
            paths.append(free_for_image(path, image))
            save_image(image, paths[-1])
            self.message.record(path=paths[-1], name=name, seconds=progress.seconds)
        self.message.text(written(paths, wanted, self.out))
        return 0
