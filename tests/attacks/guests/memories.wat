;; Takes memory and table elements in every way that wasm has.
(component
  (core module $m
    (memory (export "memory") 1)
    (table $table 1 funcref)
    (func (export "grow")
      (loop $again
        (br_if $again (i32.ne (memory.grow (i32.const 64)) (i32.const -1))))
      unreachable)
    ;; As much as it may have, and every page of it written; how many pages that were.
    (func (export "hold") (result i32) (local $at i32)
      (loop $again
        (br_if $again (i32.ne (memory.grow (i32.const 16)) (i32.const -1))))
      (memory.fill (i32.const 0) (i32.const 1) (i32.shl (memory.size) (i32.const 16)))
      (memory.size))
    ;; Written, held for as long as the call may last.
    (func (export "keep") (param $pages i32)
      (drop (memory.grow (local.get $pages)))
      (memory.fill (i32.const 0) (i32.const 1) (i32.shl (memory.size) (i32.const 16)))
      (loop $again (br $again)))
    (func (export "table")
      (loop $again
        (br_if $again
          (i32.ne (table.grow $table (ref.null func) (table.size $table)) (i32.const -1))))
      unreachable))
  (core instance $i (instantiate $m))
  (func (export "grow") (canon lift (core func $i "grow")))
  (func (export "hold") (result u32) (canon lift (core func $i "hold")))
  (func (export "keep") (param "pages" u32) (canon lift (core func $i "keep")))
  (func (export "table") (canon lift (core func $i "table"))))
