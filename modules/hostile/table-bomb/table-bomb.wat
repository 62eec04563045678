;; Takes all the table elements that it gets: tests the limit on tables. Written by hand, because
;; Rust has no word for `table.grow`; so its WIT is not embedded (push it with --wit).
(component
  (core module $bomb
    (table $table 1 funcref)
    (func (export "grow") (param $elements i32) (result i32)
      (table.grow $table (ref.null func) (local.get $elements)))
    (func (export "explode")
      (loop $again
        (br_if $again
          (i32.ne
            (table.grow $table (ref.null func) (table.size $table))
            (i32.const -1))))
      unreachable))

  (core instance $bomb (instantiate $bomb))
  (func $explode (canon lift (core func $bomb "explode")))
  (func $grow (param "elements" u32) (result s32) (canon lift (core func $bomb "grow")))
  (instance (export "hostile:table-bomb/table-bomb@0.1.0")
    (export "explode" (func $explode))
    (export "grow" (func $grow))))
