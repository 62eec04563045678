"""Generated bindings: as componentize-py makes them, and one class that runs both ways."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import wasmtime
from harness import Planned, Served, program
from wasmtime import component as wasm

from roadstead import Err
from roadstead.bindings import read_plan
from roadstead.bindings.cli import main
from roadstead_guest import build

HARBOUR = """package acme:harbour@1.2.0;
interface shapes { record point { x: f64, y: f64 } enum colour { red, deep-blue } }
interface manifest {
  use shapes.{point, colour};
  /// A thing
  /// with a "name".
  record class {
    /// Where it is from.
    %from: u32, id: u64, corner: option<point>, more: list<f32>,
  }
  variant problem { missing, bad(string) }
  variant none { none, other(tuple<u8>) }
  flags big { a0, a1-b, a2, a3 }
  type alias = class;
  find: func(label: string, limit: option<u32>) -> result<list<class>, problem>;
  same: func(it: alias) -> alias;
  sink: async func(s: stream<u8>, x: u8) -> result<u64, string>;
  both: async func(s: stream<f32>) -> tuple<stream<f32>, future<result<_, string>>>;
  fut: func() -> future<u32>;
  waits: async func(lambda: u8) -> u8;
  or-error: func() -> result<stream<string>, problem>;
  empty: func() -> result;
  nested: func(x: option<option<u8>>) -> result<result<u8, string>, u8>;
  of-lists: func() -> stream<list<option<class>>>;
  of-tuples: func() -> stream<tuple<u8, string>>;
  flagged: func(big: big, none: none, paint: colour);
}
world port {
  export manifest;
  record mine { x: u8 }
  export ready: func(o: mine) -> bool;
}
"""

TWO_OF_A_NAME = {
    "a.wit": """package acme:one@1.2.0;
interface types { record p { x: f64 } f: func(p: p) -> u8; }
world w { export types; export acme:two/types@0.1.0; }
""",
    "deps/two/b.wit": """package acme:two@0.1.0;
interface types { record q { x: f64 } f: func(q: q) -> u8; }
""",
}


def outline(directory: Path) -> dict[str, Any]:
    """The classes of `wit_world` with their bases, fields and parameters, and its functions."""
    found: dict[str, Any] = {}
    for path in sorted((directory / "wit_world").rglob("*.py")):
        name = path.relative_to(directory).as_posix()
        for node in ast.parse(path.read_text()).body:
            if isinstance(node, ast.ClassDef):
                found[f"{name}:{node.name}"] = [ast.unparse(base) for base in node.bases], [
                    _member(member) for member in node.body if not isinstance(member, (ast.Expr, ast.Pass))
                ]
            elif isinstance(node, ast.FunctionDef):
                found[f"{name}:{node.name}"] = [argument.arg for argument in node.args.args]
            elif isinstance(node, ast.Assign):
                found[f"{name}:{ast.unparse(node.targets[0])}"] = ast.unparse(node.value)
    return found


def _member(node: ast.stmt) -> Any:
    if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
        marks = [ast.unparse(mark) for mark in node.decorator_list]
        return type(node).__name__, node.name, marks, [argument.arg for argument in node.args.args]
    if isinstance(node, ast.AnnAssign):
        return ast.unparse(node.target)
    assert isinstance(node, ast.Assign)
    return ast.unparse(node.targets[0])


def componentized(wit: Path, out: Path) -> dict[str, Any]:
    command = [str(Path(sys.executable).parent / "componentize-py"), "-q", "-d", str(wit)]
    subprocess.run([*command, "bindings", str(out)], check=True)
    return outline(out)


def test_they_are_laid_out_as_componentize_py_has_them(tmp_path: Path) -> None:
    planned = Planned(tmp_path / "harbour", HARBOUR)
    theirs = componentized(planned.directory / "wit", tmp_path / "theirs")
    ours = outline(planned.bindings())
    assert ours == theirs


def test_interfaces_of_one_name_get_that_of_their_package(tmp_path: Path) -> None:
    for name, text in TWO_OF_A_NAME.items():
        (tmp_path / "wit" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "wit" / name).write_text(text)
    theirs = componentized(tmp_path / "wit", tmp_path / "theirs")
    assert run(tmp_path / "wit", tmp_path / "ours") == 0
    assert outline(tmp_path / "ours") == theirs


def test_they_are_typed(tmp_path: Path) -> None:
    planned = Planned(tmp_path / "harbour", HARBOUR)
    gen = planned.bindings()
    user = planned.directory / "user.py"
    user.write_text(USER)
    assert mypy(gen, user) == ""
    user.write_text(USER.replace("-> list[Class]:", "-> str:"))
    assert "incompatible" in mypy(gen, user)
    user.write_text(USER.replace("corner=None", "corner=5"))
    assert "incompatible type" in mypy(gen, user)


USER = """
from collections.abc import AsyncIterator
from typing import Optional
from componentize_py_types import Err
from roadstead.native.streams import ByteStreamReader
from wit_world import exports
from wit_world.exports.manifest import Class, Problem_Bad


class Manifest(exports.Manifest):
    def find(self, label: str, limit: Optional[int]) -> list[Class]:
        if limit == 0:
            raise Err(Problem_Bad(label))
        return [Class(from_=1, id=2, corner=None, more=[1.0])]

    async def sink(self, s: ByteStreamReader, x: int) -> int:
        return len(await s.read(x))
"""


def mypy(gen: Path, *files: Path) -> str:
    run = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--cache-dir",
         str(gen.parent / ".mypy"), str(gen), *map(str, files)],
        env={"MYPYPATH": str(gen), "PATH": ""}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return run.stdout + run.stderr


def run(wit: Path, out: Path, *more: str) -> int:
    return main([str(wit), "-o", str(out), "--roadstead", str(program()), *more])


def test_the_command_writes_and_checks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "w.wit").write_text(HARBOUR)
    out = tmp_path / "gen"
    assert run(tmp_path / "w.wit", out, "--check") == 1
    assert "out of date" in capsys.readouterr().err
    assert not out.exists()
    assert run(tmp_path / "w.wit", out) == 0
    assert run(tmp_path / "w.wit", out, "--check") == 0
    (out / "wit_world/exports/manifest.py").write_text("")
    assert run(tmp_path / "w.wit", out, "--check") == 1
    assert "wit_world/exports/manifest.py" in capsys.readouterr().err


def test_the_lock_s_numbers_are_kept(tmp_path: Path) -> None:
    old = "package a:b@1.0.0; interface i { record r { gone: u8, kept: u8 } f: func(r: r); }"
    old += "world w { export i; }"
    (tmp_path / "old.wit").write_text(old)
    (tmp_path / "new.wit").write_text(old.replace("gone: u8, ", ""))
    derive = [str(program()), "proto", "--wit", str(tmp_path / "old.wit"), "-o", str(tmp_path / "p")]
    subprocess.run(derive, check=True, capture_output=True)
    lock = tmp_path / "p/roadstead.lock"
    plan, _ = read_plan(tmp_path / "new.wit", lock=lock, program=program())
    assert [field.number for field in plan.messages["a.b.i.v1.R"].fields] == [2]


def test_what_is_missing_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "nowhere", tmp_path / "gen") == 1
    assert "does not exist" in capsys.readouterr().err
    (tmp_path / "bad.wit").write_text("nonsense")
    assert run(tmp_path / "bad.wit", tmp_path / "gen") == 1
    assert "roadstead proto failed" in capsys.readouterr().err
    (tmp_path / "two.wit").write_text(HARBOUR + "world other { export manifest; }")
    assert run(tmp_path / "two.wit", tmp_path / "gen") == 1
    assert run(tmp_path / "two.wit", tmp_path / "gen", "--world", "other") == 0


TWICE = """package acme:twice@0.1.0;
interface kinds {
  record point { x: f64, y: f64 }
  enum colour { red, deep-blue }
  variant lot { empty, weight(f32), named-list(list<string>), pair(tuple<u8, string>), nested(option<u32>) }
  flags rights { read, run-it, third }
  record everything {
    truth: bool, tiny: u8, large: u64, signed-small: s16, signed-large: s64,
    half: f32, whole: f64, letter: char, text: string, blob: list<u8>,
    tags: list<string>, numbers: list<s32>, grid: list<list<u16>>,
    corner: option<point>, paint: colour, lots: list<lot>, rights: rights,
    twice: list<option<option<s32>>>, pair: tuple<u32, string>,
    outcomes: list<result<u32, string>>, quiet: result, options: list<option<u8>>, class: u8,
  }
  /// One of many values.
  make: func(n: u32) -> everything;
  /// How it looks.
  tell: func(all: everything) -> string;
  check: func(n: u32) -> result<u32, lot>;
  waits: async func(n: u32) -> u32;
}
world module { export kinds; }
"""

BOTH = """
from componentize_py_types import Err, Ok, Some
from wit_world import exports
from wit_world.exports.kinds import (
    Colour, Everything, Lot_Empty, Lot_NamedList, Lot_Nested, Lot_Pair, Lot_Weight, Point, Rights,
)


class Kinds(exports.Kinds):
    def make(self, n: int) -> Everything:
        return Everything(
            truth=bool(n), tiny=n, large=2**64 - 1 - n, signed_small=-n, signed_large=-(2**63) + n,
            half=n / 4, whole=n / 3, letter="ß", text="text" * n, blob=bytes(range(n)),
            tags=["a"] * n, numbers=[-n, n], grid=[[1, n], []],
            corner=Point(1.0, -0.0) if n else None, paint=Colour.DEEP_BLUE if n else Colour.RED,
            lots=[Lot_Empty(), Lot_Weight(1.5), Lot_NamedList(["x"]), Lot_Pair((n, "p")),
                  Lot_Nested(None), Lot_Nested(n)],
            rights=Rights.READ | Rights.THIRD if n else Rights(0),
            twice=[None, Some(None), Some(n)], pair=(n, "second"),
            outcomes=[Ok(n), Err("bad")], quiet=Ok(None) if n else Err(None),
            options=[None, n], class_=n,
        )

    def tell(self, all: Everything) -> str:
        return repr(all)

    def check(self, n: int) -> int:
        if n > 1:
            raise Err(Lot_Pair((n, "too many")))
        return n

    async def waits(self, n: int) -> int:
        return n + 1
"""


def test_one_class_runs_as_component_and_as_native_module(
    tmp_path: Path, serve: Callable[..., Served]
) -> None:
    planned = Planned(tmp_path / "twice", TWICE)
    planned.bindings()
    module = planned.directory / "kinds_module.py"
    module.write_text(BOTH)
    component = tmp_path / "out.wasm"
    build(planned.directory / "wit", module, component)
    call = component_caller(component.read_bytes(), "acme:twice/kinds@0.1.0")
    native = serve(module, planned.plan, "--plain-lists").wait().module()
    for n in (0, 1, 3):
        made = native.make(n)
        assert native.tell(made) == call("tell", call("make", n))
    assert native.check(1) == call("check", 1) == 1
    with pytest.raises(Err) as raised:
        native.check(2)
    assert raised.value.value == native.Lot_Pair((2, "too many"))
    failed = call("check", 2)
    assert (failed.tag, list(failed.payload)) == ("pair", [2, "too many"])
    assert native.waits(1) == 2


def component_caller(binary: bytes, interface: str) -> Callable[..., Any]:
    config = wasmtime.Config()
    config.cranelift_opt_level = "none"
    engine = wasmtime.Engine(config)
    linker = wasm.Linker(engine)
    linker.add_wasip2()
    store = wasmtime.Store(engine)
    store.set_wasi(wasmtime.WasiConfig())
    instance = linker.instantiate(store, wasm.Component(engine, binary))
    exported = instance.get_export_index(store, interface)

    def call(name: str, *arguments: Any) -> Any:
        index = instance.get_export_index(store, name, exported)
        function = instance.get_func(store, index) if index is not None else None
        assert function is not None
        result = function(store, *arguments)
        function.post_return(store)
        return result

    return call
