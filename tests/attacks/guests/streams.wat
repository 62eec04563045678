;; Writes: to its output, to its log, without end and with everything that a terminal acts on.
(component
  (import "wasi:io/error@0.2.0" (instance $error (export "error" (type (sub resource)))))
  (alias export $error "error" (type $error))
  (import "wasi:io/streams@0.2.0" (instance $streams
    (alias outer 1 $error (type $error'))
    (export "error" (type $error (eq $error')))
    (type $stream-error' (variant (case "last-operation-failed" (own $error)) (case "closed")))
    (export "stream-error" (type $stream-error (eq $stream-error')))
    (export "output-stream" (type $output (sub resource)))
    (export "[method]output-stream.blocking-write-and-flush"
      (func (param "self" (borrow $output)) (param "contents" (list u8))
        (result (result (error $stream-error)))))
    (export "[method]output-stream.write"
      (func (param "self" (borrow $output)) (param "contents" (list u8))
        (result (result (error $stream-error)))))))
  (alias export $streams "output-stream" (type $output))
  (import "wasi:cli/stdout@0.2.0" (instance $stdout
    (alias outer 1 $output (type $output'))
    (export "output-stream" (type $output (eq $output')))
    (export "get-stdout" (func (result (own $output))))))
  (import "wasi:logging/logging@0.1.0-draft" (instance $logging
    (type $level' (enum "trace" "debug" "info" "warn" "error" "critical"))
    (export "level" (type $level (eq $level')))
    (export "log" (func
      (param "level" $level) (param "context" string) (param "message" string)))))
  (core module $memory
    (memory (export "memory") 600)
    ;; Clears the screen, sets the window's title, goes back over the line, forges one.
    (data (i32.const 64)
      "\1b[2J\1b]0;owned\07\r2026-01-01 INFO host: all is well\0a\c2\9b31m\e2\80\ae\00")
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) unreachable))
  (core instance $memory (instantiate $memory))
  (alias core export $memory "memory" (core memory $mem))
  (core func $get (canon lower (func $stdout "get-stdout")))
  (core func $flush (canon lower
    (func $streams "[method]output-stream.blocking-write-and-flush") (memory $mem)))
  (core func $write (canon lower (func $streams "[method]output-stream.write") (memory $mem)))
  (core func $log (canon lower (func $logging "log") (memory $mem)))
  (core module $m
    (import "host" "memory" (memory 1))
    (import "host" "get" (func $get (result i32)))
    (import "host" "flush" (func $flush (param i32 i32 i32 i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (import "host" "log" (func $log (param i32 i32 i32 i32 i32)))
    (func (export "keep") (loop $again (drop (call $get)) (br $again)))
    (func (export "flood") (local $out i32)
      (local.set $out (call $get))
      (loop $again
        (call $flush (local.get $out) (i32.const 65536) (i32.const 4096) (i32.const 16))
        (br $again)))
    ;; More than `check-write` was ever asked for.
    (func (export "unasked")
      (call $write (call $get) (i32.const 65536) (i32.const 0x2000000) (i32.const 16)))
    (func (export "log") (loop $again (call $line (i32.const 200)) (br $again)))
    (func (export "long-line") (call $line (i32.const 0x2000000)))
    (func (export "escapes")
      (call $log (i32.const 2) (i32.const 64) (i32.const 60) (i32.const 64) (i32.const 60)))
    (func $line (param $length i32)
      (memory.fill (i32.const 65536) (i32.const 0x78) (local.get $length))
      (call $log (i32.const 2) (i32.const 0) (i32.const 0) (i32.const 65536) (local.get $length))))
  (core instance $i (instantiate $m
    (with "host" (instance
      (export "memory" (memory $mem))
      (export "get" (func $get))
      (export "flush" (func $flush))
      (export "write" (func $write))
      (export "log" (func $log))))))
  (func (export "keep") (canon lift (core func $i "keep")))
  (func (export "flood") (canon lift (core func $i "flood")))
  (func (export "unasked") (canon lift (core func $i "unasked")))
  (func (export "log") (canon lift (core func $i "log")))
  (func (export "long-line") (canon lift (core func $i "long-line")))
  (func (export "escapes") (canon lift (core func $i "escapes"))))
