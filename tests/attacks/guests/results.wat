;; Answers with far more than it holds: lists whose elements are all the same bytes of memory.
(component
  (core module $m
    (memory (export "memory") 1024)
    (func $fill (param $from i32) (param $pointer i32) (param $length i32) (local $at i32)
      (local.set $at (local.get $from))
      (loop $again
        (i32.store (local.get $at) (local.get $pointer))
        (i32.store offset=4 (local.get $at) (local.get $length))
        (local.set $at (i32.add (local.get $at) (i32.const 8)))
        (br_if $again
          (i32.lt_u (local.get $at) (i32.add (local.get $from) (i32.const 8000))))))
    (func (export "bytes") (result i32)
      (i32.store (i32.const 16) (i32.const 0))
      (i32.store (i32.const 20) (i32.const 0x4000000))
      (i32.const 16))
    ;; A thousand lists of a thousand lists of … of a thousand texts.
    (func (export "nest") (result i32)
      (call $fill (i32.const 10000) (i32.const 20000) (i32.const 1000))
      (call $fill (i32.const 20000) (i32.const 30000) (i32.const 1000))
      (call $fill (i32.const 30000) (i32.const 40000) (i32.const 1000))
      (call $fill (i32.const 40000) (i32.const 0) (i32.const 1))
      (i32.store (i32.const 16) (i32.const 10000))
      (i32.store (i32.const 20) (i32.const 1000))
      (i32.const 16))
    ;; A thousand lists of the same thousand texts.
    (func (export "empties") (result i32)
      (call $fill (i32.const 10000) (i32.const 20000) (i32.const 1000))
      (call $fill (i32.const 20000) (i32.const 0) (i32.const 1))
      (i32.store (i32.const 16) (i32.const 10000))
      (i32.store (i32.const 20) (i32.const 1000))
      (i32.const 16)))
  (core instance $i (instantiate $m))
  (alias core export $i "memory" (core memory $memory))
  (func (export "bytes") (result (list u8)) (canon lift (core func $i "bytes") (memory $memory)))
  (func (export "empties") (result (list (list string)))
    (canon lift (core func $i "empties") (memory $memory)))
  (func (export "nest") (result (list (list (list (list string)))))
    (canon lift (core func $i "nest") (memory $memory))))
