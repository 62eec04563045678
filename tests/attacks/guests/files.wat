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
    (export "[method]descriptor.write" (func
      (param "self" (borrow $descriptor)) (param "buffer" (list u8)) (param "offset" u64)
      (result (result u64 (error $error-code)))))
    (export "[method]descriptor.set-size" (func
      (param "self" (borrow $descriptor)) (param "size" u64)
      (result (result (error $error-code)))))
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
  (core func $write (canon lower (func $types "[method]descriptor.write") (memory $mem)))
  (core func $set-size (canon lower (func $types "[method]descriptor.set-size") (memory $mem)))
  (core func $drop (canon resource.drop $descriptor))
  (core func $symlink-at (canon lower
    (func $types "[method]descriptor.symlink-at") (memory $mem)))
  (core func $link-at (canon lower
    (func $types "[method]descriptor.link-at") (memory $mem)))
  (core module $m
    (import "host" "memory" (memory 1))
    (import "host" "directories" (func $directories (param i32)))
    (import "host" "open" (func $open (param i32 i32 i32 i32 i32 i32 i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i64 i32)))
    (import "host" "set-size" (func $set-size (param i32 i64 i32)))
    (import "host" "drop" (func $drop (param i32)))
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
    ;; Makes and opens a file whose name is the eight bytes at 48.
    (func $make (param $first i32) (result i32)
      (call $open (local.get $first) (i32.const 0) (i32.const 48) (i32.const 8)
        (i32.const 1) (i32.const 3) (i32.const 32))
      (if (i32.load8_u (i32.const 32)) (then unreachable))
      (i32.load (i32.const 36)))
    ;; Writes a file until it is refused; then traps.
    (func (export "fill") (local $file i32) (local $at i64)
      (i64.store (i32.const 48) (i64.const 0x6161616161616161))
      (local.set $file (call $make (call $first)))
      (loop $again
        (call $write (local.get $file) (i32.const 65536) (i32.const 65536) (local.get $at)
          (i32.const 32))
        (local.set $at (i64.add (local.get $at) (i64.const 65536)))
        (br_if $again (i32.eqz (i32.load8_u (i32.const 32)))))
      unreachable)
    ;; A file of a tebibyte that holds nothing; a trap if it is refused.
    (func (export "sparse")
      (i64.store (i32.const 48) (i64.const 0x6262626262626262))
      (call $set-size (call $make (call $first)) (i64.const 0x10000000000) (i32.const 32))
      (if (i32.load8_u (i32.const 32)) (then unreachable)))
    ;; Makes empty files until it is refused; then traps. Their names count up in letters.
    (func (export "litter") (local $first i32) (local $n i64)
      (local.set $first (call $first))
      (loop $again
        (i64.store (i32.const 48)
          (i64.add (i64.const 0x6161616161616161) (call $spread (local.get $n))))
        (call $drop (call $make (local.get $first)))
        (local.set $n (i64.add (local.get $n) (i64.const 1)))
        (br $again)))
    ;; Half a byte of the number in each byte.
    (func $spread (param $n i64) (result i64)
      (i64.or
        (i64.or
          (i64.and (local.get $n) (i64.const 15))
          (i64.shl (i64.and (local.get $n) (i64.const 0xf0)) (i64.const 4)))
        (i64.or
          (i64.shl (i64.and (local.get $n) (i64.const 0xf00)) (i64.const 8))
          (i64.shl (i64.and (local.get $n) (i64.const 0xf000)) (i64.const 12)))))
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
      (export "write" (func $write))
      (export "set-size" (func $set-size))
      (export "drop" (func $drop))
      (export "symlink" (func $symlink-at))
      (export "link" (func $link-at))))))
  (func (export "open") (param "path" string) (param "create" bool) (result u32)
    (canon lift (core func $i "open") (memory $mem) (realloc $realloc)))
  (func (export "symlink") (param "old" string) (param "new" string) (result u32)
    (canon lift (core func $i "symlink") (memory $mem) (realloc $realloc)))
  (func (export "link") (param "old" string) (param "new" string) (result u32)
    (canon lift (core func $i "link") (memory $mem) (realloc $realloc)))
  (func (export "fill") (canon lift (core func $i "fill")))
  (func (export "sparse") (canon lift (core func $i "sparse")))
  (func (export "litter") (canon lift (core func $i "litter")))
  (func (export "keep") (canon lift (core func $i "keep"))))
