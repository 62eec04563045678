;; Does in its first directory what it is told. Answers 0, or an error's number and one.
(component
  (import "wasi:filesystem/types@0.2.0" (instance $types
    (export "descriptor" (type $descriptor (sub resource)))
    (type $error-code' (enum
      "access" "would-block" "already" "bad-descriptor" "busy" "deadlock" "quota"
      "exist" "file-too-large" "illegal-byte-sequence" "in-progress" "interrupted"
      "invalid" "io" "is-directory" "loop" "too-many-links" "message-size" "name-too-long" "no-device" "no-entry" "no-lock" "insufficient-memory" "insufficient-space"
      "not-directory" "not-empty" "not-recoverable" "unsupported" "no-tty" "no-such-device" "overflow" "not-permitted" "pipe" "read-only" "invalid-seek" "text-file-busy" "cross-device"))
    (export "error-code" (type $error-code (eq $error-code')))
    (type $path-flags' (flags "symlink-follow"))
    (export "path-flags" (type $path-flags (eq $path-flags')))
    (type $open-flags' (flags "create" "directory" "exclusive" "truncate"))
    (export "open-flags" (type $open-flags (eq $open-flags')))
    (type $descriptor-flags' (flags "read" "write" "file-integrity-sync" "data-integrity-sync"
      "requested-write-sync" "mutate-directory"))
    (export "descriptor-flags" (type $descriptor-flags (eq $descriptor-flags')))
    (export "[method]descriptor.open-at" (func
      (param "self" (borrow $descriptor)) (param "path-flags" $path-flags)
      (param "path" string) (param "open-flags" $open-flags) (param "flags" $descriptor-flags)
      (result (result (own $descriptor) (error $error-code)))))
    (export "[method]descriptor.symlink-at" (func
      (param "self" (borrow $descriptor)) (param "old-path" string) (param "new-path" string)
      (result (result (error $error-code)))))
    (export "[method]descriptor.link-at" (func
      (param "self" (borrow $descriptor)) (param "old-path-flags" $path-flags)
      (param "old-path" string) (param "new-descriptor" (borrow $descriptor))
      (param "new-path" string) (result (result (error $error-code)))))))
  (alias export $types "descriptor" (type $descriptor))
  (import "wasi:filesystem/preopens@0.2.0" (instance $preopens
    (alias outer 1 $descriptor (type $descriptor'))
    (export "descriptor" (type $descriptor (eq $descriptor')))
    (export "get-directories" (func (result (list (tuple (own $descriptor) string)))))))
  (core module $memory
    (memory (export "memory") 4)
    (global $next (mut i32) (i32.const 65536))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (global.set $next (i32.and (i32.add (global.get $next) (i32.const 7)) (i32.const -8)))
      (global.get $next)
      (global.set $next (i32.add (global.get $next) (local.get 3)))))
  (core instance $memory (instantiate $memory))
  (alias core export $memory "memory" (core memory $mem))
  (alias core export $memory "realloc" (core func $realloc))
  (core func $directories (canon lower
    (func $preopens "get-directories") (memory $mem) (realloc $realloc)))
  (core func $open-at (canon lower
    (func $types "[method]descriptor.open-at") (memory $mem)))
  (core func $symlink-at (canon lower
    (func $types "[method]descriptor.symlink-at") (memory $mem)))
  (core func $link-at (canon lower
    (func $types "[method]descriptor.link-at") (memory $mem)))
  (core module $m
    (import "host" "memory" (memory 1))
    (import "host" "directories" (func $directories (param i32)))
    (import "host" "open" (func $open (param i32 i32 i32 i32 i32 i32 i32)))
    (import "host" "symlink" (func $symlink (param i32 i32 i32 i32 i32 i32)))
    (import "host" "link" (func $link (param i32 i32 i32 i32 i32 i32 i32 i32)))
    ;; The handle of the first directory; a trap where there is none.
    (func $first (result i32)
      (call $directories (i32.const 16))
      (if (i32.eqz (i32.load (i32.const 20))) (then unreachable))
      (i32.load (i32.load (i32.const 16))))
    ;; What stands at 32: ok or an error, and which.
    (func $said (result i32)
      (if (result i32) (i32.load8_u (i32.const 32))
        (then (i32.add (i32.load8_u (i32.load (i32.const 28))) (i32.const 1)))
        (else (i32.const 0))))
    ;; Opens for reading, following links; with `create` for writing too.
    (func (export "open") (param $path i32) (param $length i32) (param $create i32) (result i32)
      (i32.store (i32.const 28) (i32.const 36))
      (call $open (call $first) (i32.const 1) (local.get $path) (local.get $length)
        (local.get $create) (i32.or (i32.const 1) (i32.shl (local.get $create) (i32.const 1)))
        (i32.const 32))
      (call $said))
    (func (export "symlink") (param i32 i32 i32 i32) (result i32)
      (i32.store (i32.const 28) (i32.const 33))
      (call $symlink (call $first)
        (local.get 0) (local.get 1) (local.get 2) (local.get 3) (i32.const 32))
      (call $said))
    (func (export "link") (param i32 i32 i32 i32) (result i32) (local $first i32)
      (local.set $first (call $first))
      (i32.store (i32.const 28) (i32.const 33))
      (call $link (local.get $first) (i32.const 1) (local.get 0) (local.get 1)
        (local.get $first) (local.get 2) (local.get 3) (i32.const 32))
      (call $said))
    ;; Opens its directory again and again and closes nothing; traps once it is refused.
    (func (export "keep") (local $first i32)
      (local.set $first (call $first))
      (i32.store8 (i32.const 48) (i32.const 0x2e))
      (loop $again
        (call $open (local.get $first) (i32.const 0) (i32.const 48) (i32.const 1)
          (i32.const 0) (i32.const 1) (i32.const 32))
        (br_if $again (i32.eqz (i32.load8_u (i32.const 32)))))
      unreachable))
  (core instance $i (instantiate $m
    (with "host" (instance
      (export "memory" (memory $mem))
      (export "directories" (func $directories))
      (export "open" (func $open-at))
      (export "symlink" (func $symlink-at))
      (export "link" (func $link-at))))))
  (func (export "open") (param "path" string) (param "create" bool) (result u32)
    (canon lift (core func $i "open") (memory $mem) (realloc $realloc)))
  (func (export "symlink") (param "old" string) (param "new" string) (result u32)
    (canon lift (core func $i "symlink") (memory $mem) (realloc $realloc)))
  (func (export "link") (param "old" string) (param "new" string) (result u32)
    (canon lift (core func $i "link") (memory $mem) (realloc $realloc)))
  (func (export "keep") (canon lift (core func $i "keep"))))
