;; Leaves a secret in everything that it has, or looks for one in what it was given.
(component
  (core module $m
    (memory (export "memory") 1)
    (table $table 4000 funcref)
    (global $global (mut i64) (i64.const 0))
    (elem declare func $secret)
    (func $secret)
    (func $leave (export "leave")
      (drop (memory.grow (i32.const 1023)))
      (memory.fill (i32.const 0) (i32.const 0xa5) (i32.const 0x4000000))
      (table.fill $table (i32.const 0) (ref.func $secret) (i32.const 4000))
      (global.set $global (i64.const -1))
      (call $deep (i64.const -1) (i32.const 400)))
    (func (export "leave-and-trap") (call $leave) unreachable)
    ;; Writes far down its stack.
    (func $deep (param $value i64) (param $more i32)
      (if (local.get $more)
        (then
          (call $deep (i64.rotl (local.get $value) (i64.const 1))
            (i32.sub (local.get $more) (i32.const 1))))))
    ;; How many words of memory, elements and globals are not as wasm says.
    (func (export "look") (result i32) (local $at i32) (local $found i32)
      (drop (memory.grow (i32.const 1023)))
      (loop $again
        (local.set $found
          (i32.add (local.get $found) (i64.ne (i64.load (local.get $at)) (i64.const 0))))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br_if $again (i32.lt_u (local.get $at) (i32.const 0x4000000))))
      (local.set $at (i32.const 0))
      (loop $again
        (local.set $found
          (i32.add (local.get $found)
            (i32.eqz (ref.is_null (table.get $table (local.get $at))))))
        (local.set $at (i32.add (local.get $at) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $at) (i32.const 4000))))
      (i32.add (local.get $found) (i64.ne (global.get $global) (i64.const 0)))))
  (core instance $i (instantiate $m))
  (func (export "leave") (canon lift (core func $i "leave")))
  (func (export "leave-and-trap") (canon lift (core func $i "leave-and-trap")))
  (func (export "look") (result u32) (canon lift (core func $i "look"))))
