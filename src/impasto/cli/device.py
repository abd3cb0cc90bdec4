"""The flags of commands that load a model: the device, and the floating-point type of the flow."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from tyro.conf import OmitArgPrefixes, arg

if TYPE_CHECKING:
    from impasto.api import Pipeline


@dataclass(frozen=True)
class Device:
    """Where a model computes."""

    device: Annotated[str, arg(metavar="{auto,cpu,cuda,mps}")] = "auto"
    """Device of the model; auto prefers a GPU."""

    def load(self, run: Path) -> "Pipeline":
        """The model of a run, a file or a name. Raises ImpastoError if there is none."""
        from impasto import api

        return api.load(run, self.device)


@dataclass(frozen=True)
class FlowDevice:
    """Where a model computes, and with which floating-point type: for commands that sample from the flow."""

    device: Annotated[str, arg(metavar="{auto,cpu,cuda,mps}")] = "auto"
    """Device of the model; auto prefers a GPU."""
    dtype: Literal["auto", "bfloat16", "float32"] = "auto"
    """Floating-point type of the flow; auto is the faster one on this machine. Images differ slightly with it."""

    def load(self, run: Path) -> "Pipeline":
        """The model of a run, a file or a name. Raises ImpastoError if there is none."""
        from impasto import api

        return api.load(run, self.device, self.dtype)


DEVICE, FLOW_DEVICE = Device(), FlowDevice()
DeviceFlags = Annotated[Device, OmitArgPrefixes, arg(help="")]
"""Type of a command's field ``device`` if it only encodes or decodes."""
FlowDeviceFlags = Annotated[FlowDevice, OmitArgPrefixes, arg(help="")]
"""Type of a command's field ``device`` if it samples images."""
