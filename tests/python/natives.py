"""Native modules for tests: their bindings, their specs, and the processes that they run in."""

import shutil
import sys
from pathlib import Path

import harness
import yaml

from roadstead.bindings import generate, read_plan


class Native:
    """A native module of tests/python/native, or of the repository, with bindings of its own."""

    def __init__(self, source, directory):
        self.name = source.name
        self.directory = directory
        shutil.copytree(source, directory, ignore=shutil.ignore_patterns("gen", "tests", "*.pyc"))
        self.bind()

    def bind(self):
        """Makes its bindings from its WIT as it is now."""
        plan, descriptors = read_plan(self.directory / "wit", program=harness.BIN)
        for name, data in generate(plan, descriptors).items():
            path = self.directory / "gen" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)

    def spec(self, limits=None, quota=None, **native):
        """A spec file, and what `push` takes."""
        program = self.directory / f"{self.name}.py"
        command = [sys.executable, "-m", "roadstead.native", str(program)]
        # Ends sooner than a test's patience.
        given = {"command": command, "grace": "5s", "concurrent": ["*"], **native}
        spec = {"name": self.name, "wit": "wit", "native": given}
        spec |= {"limits": limits or {}, "quota": quota or {}}
        path = self.directory / "spec.yaml"
        path.write_text(yaml.safe_dump(spec))
        return ["--native", path]

    def push(self, cli, *args, code=0, **spec):
        return cli.run("push", *self.spec(**spec), *args, code=code)

    def processes(self):
        """Ids of live processes that serve the module, wherever they came from."""
        program, found = str(self.directory).encode(), []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and program in (entry / "cmdline").read_bytes():
                    state = (entry / "stat").read_text().rsplit(")", 1)[1].split()[0]
                    if state != "Z":
                        found.append(int(entry.name))
            except OSError:
                continue
        return found
