//! The guest of these tests.

/// Exports `demo:calc/ops@0.1.0`, which is the service [`SERVICE`].
const WAT: &str = r#"
(component
  (core module $m
    (memory (export "memory") 1)
    (global $top (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
      (global.set $top (i32.add (local.get $at) (local.get 3)))
      (block $fits
        (loop $grow
          (br_if $fits (i32.le_u (global.get $top) (i32.mul (memory.size) (i32.const 65536))))
          (br_if $grow (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))
          (unreachable)))
      (local.get $at))
    (func (export "add") (param i32 i32) (result i32)
      (i32.add (local.get 0) (local.get 1)))
    (func (export "echo") (param i32 i32) (result i32)
      (i32.store (i32.const 16) (local.get 0))
      (i32.store (i32.const 20) (local.get 1))
      (i32.const 16))
    (func (export "work") (param i64) (result i64)
      (local $i i64)
      (loop $more
        (local.set $i (i64.add (local.get $i) (i64.const 1)))
        (br_if $more (i64.lt_u (local.get $i) (local.get 0))))
      (local.get $i))
    (func (export "spin") (loop $more (br $more)))
    (func (export "trap") unreachable))
  (core instance $i (instantiate $m))
  (func $add (param "a" u32) (param "b" u32) (result u32)
    (canon lift (core func $i "add")))
  (func $echo (param "data" (list u8)) (result (list u8))
    (canon lift (core func $i "echo")
      (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
  (func $text (param "text" string) (result string)
    (canon lift (core func $i "echo")
      (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
  (func $work (param "rounds" u64) (result u64) (canon lift (core func $i "work")))
  (func $spin (canon lift (core func $i "spin")))
  (func $trap (canon lift (core func $i "trap")))
  (instance $ops
    (export "add" (func $add))
    (export "echo" (func $echo))
    (export "text" (func $text))
    (export "work" (func $work))
    (export "spin" (func $spin))
    (export "trap" (func $trap)))
  (export "demo:calc/ops@0.1.0" (instance $ops)))
"#;

pub(crate) const SERVICE: &str = "demo.calc.ops.v0_1.Ops";

pub(crate) fn component() -> Vec<u8> {
    wat::parse_str(WAT).unwrap()
}

/// The path of a method.
pub(crate) fn path(method: &str) -> String {
    format!("/{SERVICE}/{method}")
}

/// A message with one field of bytes, number 1.
pub(crate) fn blob(bytes: &[u8]) -> Vec<u8> {
    let mut message = vec![0x0a];
    prost::encoding::encode_varint(bytes.len() as u64, &mut message);
    message.extend_from_slice(bytes);
    message
}

/// A message with one number, field 1.
pub(crate) fn number(value: u64) -> Vec<u8> {
    let mut message = vec![0x08];
    prost::encoding::encode_varint(value, &mut message);
    message
}
