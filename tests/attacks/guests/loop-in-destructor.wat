;; Loops for ever in the destructor of a resource of its own.
(component
  (core module $d (func (export "drop") (param i32) (loop $again (br $again))))
  (core instance $d (instantiate $d))
  (type $thing (resource (rep i32) (dtor (core func $d "drop"))))
  (core func $new (canon resource.new $thing))
  (core func $drop (canon resource.drop $thing))
  (core module $m
    (import "thing" "new" (func $new (param i32) (result i32)))
    (import "thing" "drop" (func $drop (param i32)))
    (func (export "go") (call $drop (call $new (i32.const 1)))))
  (core instance $i (instantiate $m
    (with "thing" (instance (export "new" (func $new)) (export "drop" (func $drop))))))
  (func (export "go") (canon lift (core func $i "go"))))
