"""The certificates of a cluster for tests: one authority and what it signs, made by openssl.

Keys are P-256. Everything lies in one folder as NAME.crt and NAME.key, and lasts a day.
"""

import subprocess
from collections.abc import Sequence
from pathlib import Path

EXTENSIONS = """\
basicConstraints=CA:FALSE
keyUsage=digitalSignature
extendedKeyUsage=serverAuth,clientAuth
"""


class Authority:
    """A certificate authority of its own, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True)
        self._key("ca")
        self._openssl(
            *("req", "-x509", "-new", "-key", "ca.key", "-subj", "/CN=roadstead-tests"),
            *("-days", "1", "-out", "ca.crt"),
            *("-addext", "basicConstraints=critical,CA:TRUE"),
            *("-addext", "keyUsage=critical,keyCertSign,digitalSignature"),
        )
        self.certificate = folder / "ca.crt"

    def sign(self, name: str, subject: str, alternatives: Sequence[str] = ()) -> tuple[Path, Path]:
        """A certificate and its key; alternatives are written `DNS:NAME` or `IP:ADDRESS`."""
        self._key(name)
        self._openssl("req", "-new", "-key", f"{name}.key", "-subj", subject, "-out", f"{name}.csr")
        extensions = EXTENSIONS
        if alternatives:
            extensions += f"subjectAltName={','.join(alternatives)}\n"
        (self.folder / f"{name}.ext").write_text(extensions)
        self._openssl(
            *("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.crt", "-CAkey", "ca.key"),
            *("-CAcreateserial", "-days", "1", "-extfile", f"{name}.ext", "-out", f"{name}.crt"),
        )
        return self.folder / f"{name}.crt", self.folder / f"{name}.key"

    def key_pair(self, name: str) -> tuple[Path, Path]:
        """A public and a private key without a certificate."""
        self._key(name)
        self._openssl("pkey", "-in", f"{name}.key", "-pubout", "-out", f"{name}.pub")
        return self.folder / f"{name}.pub", self.folder / f"{name}.key"

    def _key(self, name: str) -> None:
        self._openssl(
            *("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"),
            *("-out", f"{name}.key"),
        )

    def _openssl(self, *arguments: str) -> None:
        subprocess.run(["openssl", *arguments], cwd=self.folder, check=True, capture_output=True)
