;; Connects by TCP to the address that it is told. Answers 0 if that begins; an error's number and
;; one, plus 100 where it gets no socket at all.
(component
  (import "wasi:sockets/network@0.2.0" (instance $network
    (export "network" (type (sub resource)))
    (type $error-code' (enum "unknown" "access-denied" "not-supported" "invalid-argument"
      "out-of-memory" "timeout" "concurrency-conflict" "not-in-progress" "would-block"
      "invalid-state" "new-socket-limit" "address-not-bindable" "address-in-use"
      "remote-unreachable" "connection-refused" "connection-reset" "connection-aborted"
      "datagram-too-large" "name-unresolvable" "temporary-resolver-failure"
      "permanent-resolver-failure"))
    (export "error-code" (type $error-code (eq $error-code')))
    (type $family' (enum "ipv4" "ipv6"))
    (export "ip-address-family" (type (eq $family')))
    (type $v4 (tuple u8 u8 u8 u8))
    (export "ipv4-address" (type $ipv4 (eq $v4)))
    (type $v6 (tuple u16 u16 u16 u16 u16 u16 u16 u16))
    (export "ipv6-address" (type $ipv6 (eq $v6)))
    (type $socket4 (record (field "port" u16) (field "address" $ipv4)))
    (export "ipv4-socket-address" (type $ipv4-socket (eq $socket4)))
    (type $socket6 (record (field "port" u16) (field "flow-info" u32)
      (field "address" $ipv6) (field "scope-id" u32)))
    (export "ipv6-socket-address" (type $ipv6-socket (eq $socket6)))
    (type $either (variant (case "ipv4" $ipv4-socket) (case "ipv6" $ipv6-socket)))
    (export "ip-socket-address" (type (eq $either)))))
  (alias export $network "network" (type $net))
  (alias export $network "error-code" (type $error))
  (alias export $network "ip-address-family" (type $family))
  (alias export $network "ip-socket-address" (type $address))
  (import "wasi:sockets/instance-network@0.2.0" (instance $instance
    (alias outer 1 $net (type $net'))
    (export "network" (type $network (eq $net')))
    (export "instance-network" (func (result (own $network))))))
  (import "wasi:sockets/tcp@0.2.0" (instance $tcp
    (alias outer 1 $net (type $net'))
    (alias outer 1 $error (type $error'))
    (alias outer 1 $address (type $address'))
    (export "network" (type $network (eq $net')))
    (export "error-code" (type $error-code (eq $error')))
    (export "ip-socket-address" (type $ip-socket-address (eq $address')))
    (export "tcp-socket" (type $tcp-socket (sub resource)))
    (export "[method]tcp-socket.start-connect" (func
      (param "self" (borrow $tcp-socket)) (param "network" (borrow $network))
      (param "remote-address" $ip-socket-address) (result (result (error $error-code)))))))
  (alias export $tcp "tcp-socket" (type $socket))
  (import "wasi:sockets/tcp-create-socket@0.2.0" (instance $create
    (alias outer 1 $error (type $error'))
    (alias outer 1 $family (type $family'))
    (alias outer 1 $socket (type $socket'))
    (export "error-code" (type $error-code (eq $error')))
    (export "ip-address-family" (type $ip-address-family (eq $family')))
    (export "tcp-socket" (type $tcp-socket (eq $socket')))
    (export "create-tcp-socket" (func
      (param "address-family" $ip-address-family)
      (result (result (own $tcp-socket) (error $error-code)))))))
  (core module $memory (memory (export "memory") 1))
  (core instance $memory (instantiate $memory))
  (alias core export $memory "memory" (core memory $mem))
  (core func $instance (canon lower (func $instance "instance-network")))
  (core func $create (canon lower (func $create "create-tcp-socket") (memory $mem)))
  (core func $connect (canon lower
    (func $tcp "[method]tcp-socket.start-connect") (memory $mem)))
  (core module $m
    (import "host" "memory" (memory 1))
    (import "host" "network" (func $network (result i32)))
    (import "host" "create" (func $create (param i32 i32)))
    (import "host" "connect" (func $connect
      (param i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32 i32)))
    (func (export "connect")
      (param $port i32) (param $a i32) (param $b i32) (param $c i32) (param $d i32) (result i32)
      (call $create (i32.const 0) (i32.const 16))
      (if (i32.load8_u (i32.const 16))
        (then (return (i32.add (i32.load8_u (i32.const 20)) (i32.const 101)))))
      (call $connect (i32.load (i32.const 20)) (call $network) (i32.const 0) (local.get $port)
        (local.get $a) (local.get $b) (local.get $c) (local.get $d)
        (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
        (i32.const 32))
      (if (result i32) (i32.load8_u (i32.const 32))
        (then (i32.add (i32.load8_u (i32.const 33)) (i32.const 1)))
        (else (i32.const 0)))))
  (core instance $i (instantiate $m
    (with "host" (instance
      (export "memory" (memory $mem))
      (export "network" (func $instance))
      (export "create" (func $create))
      (export "connect" (func $connect))))))
  (func (export "connect")
    (param "port" u16) (param "a" u8) (param "b" u8) (param "c" u8) (param "d" u8) (result u32)
    (canon lift (core func $i "connect"))))
