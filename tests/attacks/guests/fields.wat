;; Fills HTTP header fields, and keeps them.
(component
  (import "wasi:http/types@0.2.0" (instance $http
    (export "fields" (type $fields (sub resource)))
    (type $header-error' (variant (case "invalid-syntax") (case "forbidden") (case "immutable")))
    (export "header-error" (type $header-error (eq $header-error')))
    (export "[constructor]fields" (func (result (own $fields))))
    (export "[method]fields.append" (func
      (param "self" (borrow $fields)) (param "name" string) (param "value" (list u8))
      (result (result (error $header-error)))))))
  (core module $memory
    (memory (export "memory") 2)
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable))
  (core instance $memory (instantiate $memory))
  (alias core export $memory "memory" (core memory $mem))
  (core func $new (canon lower (func $http "[constructor]fields")))
  (core func $append (canon lower (func $http "[method]fields.append") (memory $mem)))
  (core module $m
    (import "host" "memory" (memory 1))
    (import "host" "new" (func $new (result i32)))
    (import "host" "append" (func $append (param i32 i32 i32 i32 i32 i32)))
    (func (export "keep") (loop $again (drop (call $new)) (br $again)))
    (func (export "append") (local $fields i32)
      (memory.fill (i32.const 1024) (i32.const 0x78) (i32.const 65536))
      (local.set $fields (call $new))
      (loop $again
        (call $append (local.get $fields)
          (i32.const 1024) (i32.const 8) (i32.const 1024) (i32.const 60000) (i32.const 0))
        (br $again))))
  (core instance $i (instantiate $m
    (with "host" (instance
      (export "memory" (memory $mem))
      (export "new" (func $new))
      (export "append" (func $append))))))
  (func (export "keep") (canon lift (core func $i "keep")))
  (func (export "append") (canon lift (core func $i "append"))))
