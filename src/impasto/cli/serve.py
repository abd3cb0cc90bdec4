"""impasto serve: the studio, a local web page with a REST interface."""

import secrets
import webbrowser
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from threading import Timer
from typing import Annotated

from tyro.conf import arg

from impasto.errors import ImpastoError

LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True)
class Serve:
    """Start the studio, a local web page for generating, mixing, stylizing and training.

    impasto serve

    impasto serve --models runs --folder my-studio --port 8000

    By default only this machine has access. With another --host, access needs the token in the printed address.
    """

    port: int = 7860
    """Port to listen on."""
    host: str = "127.0.0.1"
    """Address to listen on; any but the default is open to other machines and needs a token."""
    models: Path = Path("runs")
    """Folder of runs; the studio writes its own runs there too."""
    folder: Path = Path("studio")
    """Folder of uploads, images, styles and the history."""
    no_browser: Annotated[bool, arg(help_behavior_hint="")] = False
    """Do not open a browser."""
    device: str = "auto"
    """auto, cpu, cuda or mps."""

    def run(self) -> int:
        """Serve until Ctrl-C; returns the exit code."""
        if missing := [name for name in ("fastapi", "uvicorn", "python_multipart") if find_spec(name) is None]:
            raise ImpastoError(f'the studio needs an extra ({", ".join(missing)}): pip install -e ".[studio]"')
        if not 1 <= self.port <= 65535:
            raise ImpastoError(f"--port {self.port}: use a number from 1 to 65535.")
        import uvicorn

        from impasto.web.app import create_app

        exposed = self.host not in LOOPBACK
        token = secrets.token_urlsafe(24) if exposed else None
        app = create_app(self.folder, self.models, token=token, device=self.device)
        shown = f"[{self.host}]" if ":" in self.host else self.host
        address = f"http://{shown}:{self.port}/" + (f"?token={token}" if token else "")
        print(f"Impasto: {address}", flush=True)
        if not self.no_browser:
            opener = Timer(1.0, webbrowser.open, [address])
            opener.daemon = True
            opener.start()
        try:
            uvicorn.run(app, host=self.host, port=self.port, log_level="warning", timeout_graceful_shutdown=5)
        except SystemExit as error:
            # uvicorn has printed the reason.
            raise ImpastoError(f"--port {self.port}: cannot listen on it; use another port.") from error
        return 0
