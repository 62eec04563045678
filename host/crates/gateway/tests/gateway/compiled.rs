//! Large messages through the compiled codec, from a client to a guest and back.

use bytes::Bytes;
use prost::encoding::encode_varint;
use roadstead_proto::v1::{PushHeader, SpecFormat};
use tonic::{Code, Request, Response, Status, client::Grpc, transport::Channel};

use crate::{
    guest::{blob, number},
    support::{Host, PATIENCE, call_with, failure, outcome, push},
};

const MIB: usize = 1 << 20;

/// Gives lists back, or so many of its bytes.
const WAT: &str = r#"
(component
  (core module $m
    (memory (export "memory") 1)
    (global $top (mut i32) (i32.const 1024))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32)
      (local $at i32)
      (local.set $at (i32.and (i32.add (global.get $top) (i32.const 7)) (i32.const -8)))
      (global.set $top (i32.add (local.get $at) (local.get 3)))
      (block $fits
        (loop $grow
          (br_if $fits (i32.le_u (global.get $top) (i32.mul (memory.size) (i32.const 65536))))
          (br_if $grow (i32.ne (memory.grow (i32.const 16)) (i32.const -1)))
          (unreachable)))
      (local.get $at))
    (func $pair (export "echo") (param i32 i32) (result i32)
      (i32.store (i32.const 16) (local.get 0))
      (i32.store (i32.const 20) (local.get 1))
      (i32.const 16))
    (func (export "give") (param i32) (result i32)
      (drop (memory.grow (i32.const 64)))
      (call $pair (i32.const 0) (local.get 0))))
  (core instance $i (instantiate $m))
  (alias core export $i "memory" (core memory $memory))
  (alias core export $i "realloc" (core func $realloc))
  (alias core export $i "echo" (core func $echo))
  (type $bytes (list u8))
  (type $floats (list f32))
  (type $texts (list string))
  (type $record (tuple u32 string f64))
  (type $records (list $record))
  (func $bytes (param "v" $bytes) (result $bytes)
    (canon lift (core func $echo) (memory $memory) (realloc $realloc)))
  (func $floats (param "v" $floats) (result $floats)
    (canon lift (core func $echo) (memory $memory) (realloc $realloc)))
  (func $texts (param "v" $texts) (result $texts)
    (canon lift (core func $echo) (memory $memory) (realloc $realloc)))
  (func $records (param "v" $records) (result $records)
    (canon lift (core func $echo) (memory $memory) (realloc $realloc)))
  (func $give (param "n" u32) (result $bytes)
    (canon lift (core func $i "give") (memory $memory)))
  (instance $ops
    (export "bytes" (func $bytes))
    (export "floats" (func $floats))
    (export "texts" (func $texts))
    (export "records" (func $records))
    (export "give" (func $give)))
  (export "demo:bulk/ops@0.1.0" (instance $ops)))
"#;

/// A host with the guest published, and a client of it.
async fn host(spec: &str) -> (Host, Channel) {
    let host = Host::start().await;
    let header = PushHeader {
        name: "bulk".to_owned(),
        spec: spec.to_owned(),
        spec_format: SpecFormat::Yaml.into(),
        ..PushHeader::default()
    };
    let channel = host.channel().await;
    let events = push(channel.clone(), header, wat::parse_str(WAT).unwrap()).await.unwrap();
    outcome(&events);
    (host, channel)
}

async fn call(
    channel: &Channel,
    method: &str,
    message: impl Into<Bytes>,
) -> Result<Response<Bytes>, Status> {
    let client = Grpc::new(channel.clone()).max_decoding_message_size(64 * MIB);
    let path = format!("/demo.bulk.ops.v0_1.Ops/{method}");
    call_with(client, &path, Request::new(message.into())).await
}

fn texts(count: usize) -> Vec<u8> {
    (0..count).flat_map(|n| blob(format!("text {n}").as_bytes())).collect()
}

fn records(count: u32) -> Vec<u8> {
    let record = |n: u32| {
        let mut record = number(u64::from(n) + 1);
        record.push(0x12);
        let name = format!("sensor {n}");
        encode_varint(name.len() as u64, &mut record);
        record.extend(name.bytes());
        record.push(0x19);
        record.extend((f64::from(n) + 0.5).to_le_bytes());
        blob(&record)
    };
    (0..count).flat_map(record).collect()
}

const PATIENT: &str = "limits: {deadline: 60s}";

#[tokio::test]
async fn large_messages_go_there_and_back() {
    let (host, channel) = host(PATIENT).await;
    let floats: Vec<u8> = (0..1_000_000).flat_map(|n: u32| (n as f32).to_le_bytes()).collect();
    for (method, message) in [
        ("Bytes", blob(&vec![7; MIB])),
        ("Bytes", blob(&vec![8; 16 * MIB])),
        ("Floats", blob(&floats)),
        ("Texts", texts(100_000)),
        ("Records", records(100_000)),
    ] {
        let message = Bytes::from(message);
        let answer = call(&channel, method, message.clone()).await.unwrap();
        assert!(*answer.get_ref() == message, "{method} of {}", message.len());
    }
    host.stop().await;
}

#[tokio::test]
async fn what_is_wrong_at_the_end_of_a_large_message_is_bad_input() {
    let (host, channel) = host(PATIENT).await;
    for (method, good, wrong) in [
        ("Bytes", blob(&vec![7; 16 * MIB]), vec![0x0a]),
        ("Texts", texts(1_000_000), blob(&[0xff])),
        ("Records", records(500_000), blob(&[0x12, 1, 0xff])),
    ] {
        let answer = call(&channel, method, [good, wrong].concat()).await;
        assert_eq!(failure(answer), (Code::InvalidArgument, "BAD_INPUT".to_owned()), "{method}");
    }
    host.stop().await;
}

fn exhausted(reason: &str) -> (Code, String) {
    (Code::ResourceExhausted, reason.to_owned())
}

#[tokio::test]
async fn limits_hold_for_large_messages() {
    let header = 5;
    let (first, channel) = host("limits: {input: 3Mi, output: 4Mi, deadline: 60s}").await;
    let most = blob(&vec![7; 3 * MIB - header]);
    assert_eq!(call(&channel, "Bytes", most.clone()).await.unwrap().get_ref(), &most);
    let over = call(&channel, "Bytes", blob(&vec![7; 3 * MIB - header + 1])).await;
    assert_eq!(failure(over), exhausted("INPUT_LIMIT"));
    let size = (4 * MIB - header) as u64;
    let most = call(&channel, "Give", number(size)).await.unwrap();
    assert_eq!(most.get_ref().len(), 4 * MIB);
    let over = call(&channel, "Give", number(size + 1)).await;
    assert_eq!(failure(over), exhausted("OUTPUT_LIMIT"));
    first.stop().await;

    for (spec, reason) in [
        ("limits: {memory: 16Mi, deadline: 60s}", "MEMORY_LIMIT"),
        ("limits: {fuel_per_call: 10_000_000, deadline: 60s}", "FUEL_EXHAUSTED"),
    ] {
        let (host, channel) = host(spec).await;
        let less = blob(&vec![7; MIB]);
        assert_eq!(call(&channel, "Bytes", less.clone()).await.unwrap().get_ref(), &less);
        let more = call(&channel, "Bytes", blob(&vec![7; 12 * MIB])).await;
        assert_eq!(failure(more), exhausted(reason), "{spec}");
        host.stop().await;
    }
}

#[tokio::test]
async fn a_deadline_may_come_while_a_message_is_read() {
    let (host, channel) = host("limits: {fuel_per_call: 100_000_000_000, deadline: 50ms}").await;
    // Ten million texts, each of which gets memory of its own.
    let message = Bytes::from(blob(b"x").repeat(10_000_000));
    let ended = tokio::time::timeout(PATIENCE, call(&channel, "Texts", message)).await.unwrap();
    assert_eq!(failure(ended), (Code::DeadlineExceeded, "DEADLINE".to_owned()));
    // Whoever comes next finds a host that is not busy with it, sooner or later.
    let next = async { while call(&channel, "Texts", blob(b"next")).await.is_err() {} };
    tokio::time::timeout(PATIENCE, next).await.unwrap();
    host.stop().await;
}

#[tokio::test]
async fn an_instance_that_declined_a_request_serves_on() {
    let (host, channel) = host("instances: {policy: pooled}").await;
    let origin = |answer: &Response<Bytes>| {
        answer.metadata().get("roadstead-instance").unwrap().to_str().unwrap().to_owned()
    };
    let usual = blob(&vec![7; MIB]);
    let first = call(&channel, "Bytes", usual.clone()).await.unwrap();
    assert_eq!(origin(&first), "fresh");
    // The last of two counts, which only the dynamic codec reads.
    let twice = call(&channel, "Bytes", [blob(b"a"), blob(b"b")].concat()).await.unwrap();
    assert_eq!((twice.get_ref(), &*origin(&twice)), (&Bytes::from(blob(b"b")), "warm"));
    let wrong = call(&channel, "Bytes", [usual.clone(), vec![0x0a]].concat()).await.unwrap_err();
    assert_eq!(wrong.metadata().get("roadstead-instance").unwrap(), "warm");
    let last = call(&channel, "Bytes", usual.clone()).await.unwrap();
    assert_eq!((last.get_ref(), &*origin(&last)), (&Bytes::from(usual), "warm"));
    host.stop().await;
}
