"""A veth pair into a network namespace of its own: one end here to listen on, the other end sends.

The end here has no address, so nothing but a packet socket takes notice of what comes in; nothing is sent from here.
"""

import itertools
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import pytest

_unique = itertools.count()

HERE, THERE = "192.0.2.1", "192.0.2.2"
"""Addresses (RFC 5737) of the two ends as the namespace sees them."""
HERE6, THERE6 = "2001:db8::1", "2001:db8::2"


def why_not() -> str | None:
    """Why this machine cannot make network namespaces, if so."""
    if not sys.platform.startswith("linux"):
        return "network namespaces need Linux"
    if shutil.which("ip") is None:
        return "ip (iproute2) is not installed"
    if os.geteuid() != 0:
        return "network namespaces need root"
    name = f"pcapeda-{os.getpid()}-try"
    tried = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
    subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)
    return f"ip netns add: {tried.stderr.strip()}" if tried.returncode else None


needs_netns = pytest.mark.skipif(bool(why := why_not()), reason=why or "")


def ip(*arguments: str) -> None:
    """Run ip(8), which must succeed."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"ip {' '.join(arguments)}: {done.stderr}"


class Veth:
    """`name` is the end here, `peer` the end in `namespace`, from where `send` and `start` send."""

    def __init__(self, namespace: str, name: str, peer: str) -> None:
        self.namespace, self.name, self.peer = namespace, name, peer

    @property
    def mac(self) -> str:
        """The address of the end here."""
        return Path(f"/sys/class/net/{self.name}/address").read_text().strip()

    def inside(self, *arguments: str) -> None:
        """Run ip(8) in the namespace."""
        ip("-n", self.namespace, *arguments)

    def start(self, code: str, *arguments: object) -> subprocess.Popen[bytes]:
        """Run Python code in the namespace; `sys.argv[1:]` are the arguments. The code may `import socket` and such."""
        command = ["ip", "netns", "exec", self.namespace, sys.executable, "-c", code, *map(str, arguments)]
        return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def run(self, code: str, *arguments: object) -> bytes:
        """The same to its end; its standard output."""
        process = self.start(code, *arguments)
        output, _ = process.communicate(timeout=60)
        assert process.returncode == 0
        return output

    def send(self, port: int, count: int = 1, size: int = 8, to: str = HERE) -> list[bytes]:
        """Send datagrams of `size` bytes that begin with their index, as fast as it goes; the payloads."""
        self.run(SENDER, to, port, count, size)
        return payloads(count, size)

    def inject(self, *frames: bytes) -> None:
        """Send whole frames, as they are."""
        self.run(INJECTOR, self.peer, *(frame.hex() for frame in frames))


def payloads(count: int, size: int = 8) -> list[bytes]:
    """What `Veth.send` sends."""
    return [index.to_bytes(8, "big").ljust(size, b".")[:size] for index in range(count)]


SENDER = """
import socket, sys
to, port, count, size = sys.argv[1], *map(int, sys.argv[2:])
with socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET, socket.SOCK_DGRAM) as sender:
    for index in range(count):
        sender.sendto(index.to_bytes(8, "big").ljust(size, b".")[:size], (to, port))
"""

INJECTOR = """
import socket, sys
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as sender:
    sender.bind((sys.argv[1], 0))
    for frame in sys.argv[2:]:
        sender.send(bytes.fromhex(frame))
"""


def _sweep() -> None:
    """Remove what test runs that were killed have left: the namespaces of processes that are no more."""
    for path in Path("/run/netns").glob("pcapeda-*-*"):
        process = path.name.split("-")[1]
        if process.isdigit() and not Path(f"/proc/{process}").exists():
            subprocess.run(["ip", "netns", "del", path.name], capture_output=True, check=False)


@contextmanager
def veth_pair() -> Iterator[Veth]:
    """Names are unique to this process; everything is gone afterwards, whatever happened."""
    _sweep()
    number = next(_unique)
    ends = (f"pe{os.getpid()}{number:02d}{end}" for end in "ab")
    veth = Veth(f"pcapeda-{os.getpid()}-{number}", *ends)
    with ExitStack() as stack:
        ip("netns", "add", veth.namespace)
        stack.callback(subprocess.run, ["ip", "netns", "del", veth.namespace], capture_output=True, check=False)
        ip("link", "add", veth.name, "type", "veth", "peer", "name", veth.peer, "netns", veth.namespace)
        stack.callback(subprocess.run, ["ip", "link", "del", veth.name], capture_output=True, check=False)
        with suppress(OSError):  # no neighbour discovery and the like from here
            Path(f"/proc/sys/net/ipv6/conf/{veth.name}/disable_ipv6").write_text("1")
        ip("link", "set", veth.name, "up")
        for device in ("lo", veth.peer):
            veth.inside("link", "set", device, "up")
        veth.inside("addr", "add", f"{THERE}/24", "dev", veth.peer)
        veth.inside("addr", "add", f"{THERE6}/64", "dev", veth.peer, "nodad")
        veth.inside("neigh", "add", HERE, "lladdr", veth.mac, "dev", veth.peer)
        veth.inside("neigh", "add", HERE6, "lladdr", veth.mac, "dev", veth.peer)
        yield veth
