;; Never returns from its own calls: to itself, to another, through a table, with large frames.
(component
  (core module $m
    (type $f (func (param i64) (result i64)))
    (table funcref (elem $through))
    (func $self (type $f) (i64.add (call $self (local.get 0)) (i64.const 1)))
    (func $ping (type $f) (i64.add (call $pong (local.get 0)) (i64.const 1)))
    (func $pong (type $f) (i64.mul (call $ping (local.get 0)) (i64.const 3)))
    (func $through (type $f)
      (i64.add (call_indirect (type $f) (local.get 0) (i32.const 0)) (i64.const 1)))
    (func (export "direct") (result i64) (call $self (i64.const 0)))
    (func (export "mutual") (result i64) (call $ping (i64.const 0)))
    (func (export "indirect") (result i64) (call $through (i64.const 0))))
  (core instance $i (instantiate $m))
  (func (export "direct") (result u64) (canon lift (core func $i "direct")))
  (func (export "mutual") (result u64) (canon lift (core func $i "mutual")))
  (func (export "indirect") (result u64) (canon lift (core func $i "indirect"))))
