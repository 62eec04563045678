"""The command, from a .wit and a .py to a component that answers."""

from pathlib import Path

import pytest
import wasmtime
from wasmtime import component as wasm

from roadstead_guest import read_wit
from roadstead_guest.build import explain
from roadstead_guest.cli import main

WIT = """package demo:greeter@0.1.0;

/// Greets.
interface greeter {
  /// Says hello to somebody.
  greet: func(name: string) -> string;
}

world module {
  export greeter;
}
"""

MODULE = """from wit_world import exports

from phrases import HELLO


class Greeter(exports.Greeter):
    def greet(self, name: str) -> str:
        return f"{HELLO}, {name}!"
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    (tmp_path / "wit").mkdir()
    (tmp_path / "wit/greeter.wit").write_text(WIT)
    (tmp_path / "greeter.py").write_text(MODULE)
    (tmp_path / "phrases.py").write_text("HELLO = 'Hello'\n")
    return tmp_path


def run(project: Path, *more: str, module: str = "greeter.py") -> int:
    return main([str(project / "wit"), str(project / module), "-o", str(project / "out.wasm"), *more])


def greet(binary: bytes, name: str) -> str:
    config = wasmtime.Config()
    config.cranelift_opt_level = "none"
    engine = wasmtime.Engine(config)
    linker = wasm.Linker(engine)
    linker.add_wasip2()
    store = wasmtime.Store(engine)
    store.set_wasi(wasmtime.WasiConfig())
    instance = linker.instantiate(store, wasm.Component(engine, binary))
    interface = instance.get_export_index(store, "demo:greeter/greeter@0.1.0")
    index = instance.get_export_index(store, "greet", interface)
    function = instance.get_func(store, index) if index is not None else None
    assert function is not None
    return str(function(store, name))


def test_a_component_answers_and_carries_its_wit(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "vendor").mkdir()
    (project / "phrases.py").rename(project / "vendor/phrases.py")
    assert run(project, "--python-path", str(project / "vendor")) == 0
    binary = (project / "out.wasm").read_bytes()
    assert f"({len(binary):,} bytes)" in capsys.readouterr().out
    assert read_wit(binary) == [("greeter.wit", WIT)]
    assert greet(binary, "Ann") == "Hello, Ann!"
    assert sorted(path.name for path in project.iterdir() if path.name != "__pycache__") == [
        "greeter.py", "out.wasm", "vendor", "wit",
    ]  # fmt: skip


def failure(project: Path, capsys: pytest.CaptureFixture[str], *more: str, **options: str) -> str:
    assert run(project, *more, **options) == 1
    assert not (project / "out.wasm").exists()
    return capsys.readouterr().err


def test_packages_of_the_machine_are_not_seen(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "greeter.py").write_text("import pytest\n" + MODULE)
    error = failure(project, capsys)
    assert "`pytest` was not found" in error
    assert "--python-path" in error


def test_a_missing_class_is_named(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "greeter.py").write_text("x = 1\n")
    assert "greeter.py defines no class `Greeter`" in failure(project, capsys)


def test_wit_that_does_not_parse_is_shown(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (project / "wit/greeter.wit").write_text(WIT.replace("string", "strong"))
    error = failure(project, capsys)
    assert "`strong` is not defined" in error
    assert "Traceback" not in error


def test_worlds_are_chosen_by_name(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    two = WIT + "world other { export greeter; }\n"
    (project / "wit/greeter.wit").write_text(two)
    assert "--world" in failure(project, capsys)
    assert "no world `third`" in failure(project, capsys, "--world", "third")


def test_what_python_raised_is_shown_once() -> None:
    raised = (
        "Traceback (most recent call last):\n  File \"<string>\", line 1, in <module>\n"
        "AssertionError:   File \"/0/greeter.py\", line 2\n    class T(\n           ^\n"
        "SyntaxError: invalid syntax\n\nCaused by:\n    SyntaxError: invalid syntax\n"
    )
    shown = explain(raised)
    assert shown.startswith("the module is not valid Python")
    assert "greeter.py" in shown
    assert "Traceback" not in shown
    assert shown.count("SyntaxError") == 1


def test_maps_are_refused_with_advice(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "wit/greeter.wit").write_text(WIT.replace("-> string", "-> map<string, u32>"))
    assert "list<tuple<K, V>>" in failure(project, capsys)


@pytest.mark.parametrize(
    ("module", "part"),
    [
        ("missing.py", "does not exist"),
        ("not-a-name.py", "cannot be imported"),
        ("notes.txt", "cannot be imported"),
        ("wit_world.py", "rename it"),
    ],
)
def test_module_names_are_checked(
    project: Path, capsys: pytest.CaptureFixture[str], module: str, part: str
) -> None:
    if module != "missing.py":
        (project / module).write_text("")
    assert part in failure(project, capsys, module=module)


def test_wit_must_be_there(project: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (project / "wit/greeter.wit").unlink()
    assert "holds no .wit file" in failure(project, capsys)
    (project / "wit").rmdir()
    assert "does not exist" in failure(project, capsys)


def test_the_output_s_directory_must_be_there(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    error = failure(project, capsys, "-o", str(project / "nowhere/out.wasm"))
    assert "nowhere is not a directory" in error


def test_a_failed_build_keeps_the_old_output(project: Path) -> None:
    (project / "out.wasm").write_bytes(b"old")
    (project / "wit/greeter.wit").write_text("nonsense")
    assert run(project) == 1
    assert (project / "out.wasm").read_bytes() == b"old"
