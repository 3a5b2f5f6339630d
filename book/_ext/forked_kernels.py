"""Jupyter kernels that are forked from one process with everything imported.

Starting Python and importing torch, its compiler (the first optimiser wants it),
scikit-learn, pandas and Matplotlib costs a kernel about six seconds of a core, more
than a short notebook computes. Here one process does it once; each kernel is a fork of
it, with the environment and folder that it was asked for, and nothing defined. Where
there is no Linux, or something cannot be imported, kernels start as ever.

    with Nursery() as nursery:
        NotebookClient(notebook, kernel_manager_class=nursery.manager).execute()
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import os
import select
import signal
import socket
import sys


class Nursery:
    """The process that forks; it ends with the ``with`` block, or with this process."""

    process = None

    def start(self) -> None:
        """Start it, and do not wait until it can fork."""
        import subprocess
        import tempfile

        if self.process is not None or sys.platform != "linux":
            return
        self.folder = tempfile.TemporaryDirectory(prefix="kernels-")
        self.address = os.path.join(self.folder.name, "s")
        inline = {"MPLBACKEND": "module://matplotlib_inline.backend_inline"}
        self.process = subprocess.Popen(
            [sys.executable, __file__, "serve", self.address],
            env={**os.environ, **inline}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def __enter__(self) -> Nursery:
        from jupyter_client.manager import AsyncKernelManager

        self.manager = AsyncKernelManager
        self.start()
        if self.process is None or not self.process.stdout.readline():
            return self  # else it listens
        address = self.address

        class Manager(AsyncKernelManager):
            """Starts a process that asks for a kernel, and lasts as long as that."""

            def format_kernel_cmd(self, extra_arguments: object = None) -> list[str]:
                ask = [sys.executable, "-I", "-S", __file__, "ask", address]
                return [*ask, self.connection_file]

        self.manager = Manager
        return self

    def __exit__(self, *error: object) -> None:
        if self.process is None:
            return
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        self.folder.cleanup()
        self.process = None


def ask(address: str, file: str) -> None:
    """Ask for a kernel with this process' environment and folder; wait for its end."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # whoever sends it ends this as well
    with socket.socket(socket.AF_UNIX) as line:
        line.connect(address)
        wanted = {"file": file, "env": dict(os.environ), "folder": os.getcwd()}
        line.sendall(json.dumps(wanted).encode() + b"\n")
        line.recv(1)


def serve(address: str) -> None:
    """Import, listen, and fork until the standard input is closed."""
    prepare()
    kernels: dict[socket.socket, int] = {}
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(address)
        door.listen()
        print("ready", flush=True)
        while True:
            heard, _, _ = select.select([sys.stdin, door, *kernels], [], [], 0.1)
            if sys.stdin in heard:
                break
            for line in [one for one in kernels if one in heard]:
                os.kill(kernels[line], signal.SIGKILL)  # whoever asked is gone
            while (ended := gone(kernels)) is not None:
                del kernels[ended]
                ended.close()
            if door in heard:
                line, _ = door.accept()
                asked = line.makefile().readline()
                if not asked:  # gone before it could say what
                    line.close()
                    continue
                wanted = json.loads(asked)
                pid = os.fork()
                if not pid:
                    for other in (door, line, *kernels):
                        other.close()
                    become(wanted)
                kernels[line] = pid
    for pid in kernels.values():
        os.kill(pid, signal.SIGKILL)


def gone(kernels: dict[socket.socket, int]) -> socket.socket | None:
    """The line of a kernel that has ended, if one has."""
    with contextlib.suppress(ChildProcessError):
        pid, _ = os.waitpid(-1, os.WNOHANG)
        return next((line for line, own in kernels.items() if own == pid), None)
    return None


def prepare() -> None:
    """Import what notebooks import; no thread may be started."""
    import ipykernel.kernelapp
    import matplotlib.pyplot
    import pandas
    import sklearn.decomposition
    import sklearn.linear_model
    import torch

    import rlap.experiments.contest
    import rlap.figures
    from rlap.files import digests

    torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1)
    digests.code_digest()
    del ipykernel, matplotlib, pandas, sklearn, rlap
    # what was imported stays for good: looking for garbage in it takes a kernel a sixth
    # of a second, a dozen times where memory is measured, and copies its pages
    gc.freeze()


def become(wanted: dict) -> None:
    """Be a kernel, and end with it."""
    from ipykernel.kernelapp import IPKernelApp

    os.setsid()
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG: not without it
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.environ.clear()
    os.environ.update(wanted["env"])
    os.environ.pop("JPY_PARENT_PID", None)  # that asked, not that forked
    os.chdir(wanted["folder"])
    status = 1
    try:
        IPKernelApp.launch_instance(argv=["-f", wanted["file"]])
        status = 0
    finally:
        os._exit(status)


if __name__ == "__main__":
    {"serve": serve, "ask": ask}[sys.argv[1]](*sys.argv[2:])
