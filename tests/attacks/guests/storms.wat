;; Calls the host as often as it can, for little things and for much.
(component
  (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
    (export "now" (func (result u64)))))
  (import "wasi:random/random@0.2.0" (instance $random
    (export "get-random-bytes" (func (param "len" u64) (result (list u8))))
    (export "get-random-u64" (func (result u64)))))
  (import "wasi:cli/environment@0.2.0" (instance $environment
    (export "get-environment" (func (result (list (tuple string string)))))
    (export "get-arguments" (func (result (list string))))))
  (core module $memory
    (memory (export "memory") 64)
    ;; Always the same place: what was there before is not looked at again.
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 65536)))
  (core instance $memory (instantiate $memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))
  (core func $now (canon lower (func $clock "now")))
  (core func $bytes
    (canon lower (func $random "get-random-bytes") (memory $mem) (realloc $realloc)))
  (core func $u64 (canon lower (func $random "get-random-u64")))
  (core func $get-environment
    (canon lower (func $environment "get-environment") (memory $mem) (realloc $realloc)))
  (core func $get-arguments
    (canon lower (func $environment "get-arguments") (memory $mem) (realloc $realloc)))
  (core module $m
    (import "host" "memory" (memory 1))
    (import "host" "now" (func $now (result i64)))
    (import "host" "bytes" (func $bytes (param i64 i32)))
    (import "host" "u64" (func $u64 (result i64)))
    (import "host" "environment" (func $environment (param i32)))
    (import "host" "arguments" (func $arguments (param i32)))
    (func (export "clock") (loop $again (drop (call $now)) (br $again)))
    (func (export "random") (loop $again (drop (call $u64)) (br $again)))
    (func (export "random-bytes") (param $size i64) (call $bytes (local.get $size) (i32.const 16)))
    (func (export "environment")
      (loop $again (call $environment (i32.const 16)) (br $again)))
    ;; How many variables and arguments it was given.
    (func (export "inherited") (result i32)
      (call $environment (i32.const 16))
      (call $arguments (i32.const 32))
      (i32.add (i32.load (i32.const 20)) (i32.load (i32.const 36))))
    ;; Nanoseconds that a million additions take, as far as it can tell.
    (func (export "elapsed") (result i64) (local $n i32) (local $began i64)
      (local.set $began (call $now))
      (loop $again
        (local.set $n (i32.add (local.get $n) (i32.const 1)))
        (br_if $again (i32.lt_u (local.get $n) (i32.const 1000000))))
      (i64.sub (call $now) (local.get $began)))
    (func (export "number") (result i64) (call $u64)))
  (core instance $i (instantiate $m
    (with "host" (instance
      (export "memory" (memory $mem))
      (export "now" (func $now))
      (export "bytes" (func $bytes))
      (export "u64" (func $u64))
      (export "environment" (func $get-environment))
      (export "arguments" (func $get-arguments))))))
  (func (export "clock") (canon lift (core func $i "clock")))
  (func (export "random") (canon lift (core func $i "random")))
  (func (export "random-bytes") (param "size" u64) (canon lift (core func $i "random-bytes")))
  (func (export "environment") (canon lift (core func $i "environment")))
  (func (export "inherited") (result u32) (canon lift (core func $i "inherited")))
  (func (export "elapsed") (result u64) (canon lift (core func $i "elapsed")))
  (func (export "number") (result u64) (canon lift (core func $i "number"))))
