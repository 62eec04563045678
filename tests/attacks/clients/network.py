"""Guests that connect to where they may not."""

from harness import varints

# Itself, this machine by other names, metadata of clouds, private networks, everywhere.
ADDRESSES = [
    (127, 0, 0, 1), (127, 9, 9, 9), (0, 0, 0, 0), (169, 254, 169, 254), (100, 100, 100, 200),
    (10, 0, 0, 1), (172, 16, 0, 1), (192, 168, 0, 1), (255, 255, 255, 255), (192, 0, 2, 1),
]  # fmt: skip


def connect(stage):
    """Without a grant, and to the host's own port."""
    with stage.published("connects", "tcp") as name:
        _, port = stage.address
        said = {
            stage.outcome(name, "Connect", varints(to, *address))
            for address in ADDRESSES
            for to in (port, 80, 443)
        }
    return "denied" if "served 0" not in said and all(s.startswith("served") for s in said) else f"got {said}"
