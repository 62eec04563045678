"""Guests with a directory who look for what lies outside it."""

SPEC = "capabilities: {files: [{host: scratch, guest: /scratch, mode: rw}]}"
READ_ONLY = "capabilities: {files: [{host: datasets, guest: /data, mode: ro}]}"


def texts(*values):
    """A message whose fields 1, 2, … are these texts."""
    message = b""
    for place, value in enumerate(values, 1):
        size, encoded = len(value.encode()), bytearray()
        while size > 0x7F:
            encoded.append(size & 0x7F | 0x80)
            size >>= 7
        encoded.append(size)
        message += bytes([place << 3 | 2]) + encoded + value.encode()
    return message


def path_escapes(stage):
    """Every way out of a directory: none may open, by paths or by links that it makes itself."""
    scratch = stage.host.scratch
    secret = scratch.parent / "secret"
    secret.write_text("not for guests")
    by_the_operator = scratch / "link-out"
    by_the_operator.symlink_to(secret)
    opened = []
    with stage.published("path-escapes", "files", SPEC) as name:
        links = {"up": "../secret", "root": "/etc/passwd", "far": str(secret), "dots": "././../secret"}
        for new, old in links.items():
            stage.outcome(name, "Symlink", texts(old, new))
        stage.outcome(name, "Link", texts("../secret", "hard"))
        stage.outcome(name, "Link", texts("link-out", "hard-through-link"))
        stage.outcome(name, "Symlink", texts("loop-b", "loop-a"))
        stage.outcome(name, "Symlink", texts("loop-a", "loop-b"))
        for path in (
            "../secret", "./../secret", "a/../../secret", "/etc/passwd", str(secret), "..", "/",
            "link-out", "link-out/", "loop-a", "hard", "hard-through-link", "x" * 10_000,
            "a/" * 5_000, "../scratch/../secret", *links, *(f"{link}/" for link in links),
        ):  # fmt: skip
            if stage.outcome(name, "Open", texts(path)) == "served 0":
                opened.append(path[:40])
        own = stage.outcome(name, "Open", texts("own") + b"\x10\x01")
    for path in scratch.iterdir():
        path.unlink()
    if own != "served 0":
        return f"its own file does not open: {own}"
    return f"opened {opened}" if opened else "nothing opened"


def read_only(stage):
    """Writes where it may only read."""
    with stage.published("read-only", "files", READ_ONLY) as name:
        answers = {
            stage.outcome(name, "Open", texts("ports.tsv") + b"\x10\x01"),
            stage.outcome(name, "Open", texts("new") + b"\x10\x01"),
            stage.outcome(name, "Symlink", texts("ports.tsv", "new")),
            stage.outcome(name, "Link", texts("ports.tsv", "new")),
        }
        readable = stage.outcome(name, "Open", texts("ports.tsv"))
    return "refused" if "served 0" not in answers and readable == "served 0" else f"got {answers}"
