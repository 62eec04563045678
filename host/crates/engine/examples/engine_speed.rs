//! What the engine itself costs, without a gateway: `engine_speed [COMPONENT FUNCTION REQUEST]`,
//! where the request is a protobuf message in hexadecimal digits. With
//! `HAND_OVER` in the environment every call goes to the guest threads.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a program for developers"
)]

#[path = "../tests/engine/support.rs"]
mod support;

use std::time::{Duration, Instant};

use roadstead_engine::{Engine, EngineConfig};
use support::{Guest, component, number, prepare};

const CALLS: u32 = 20_000;

fn main() {
    let before = virtual_mib();
    let start = Instant::now();
    let start_at_caller = std::env::var_os("HAND_OVER").is_none();
    let config = EngineConfig { start_at_caller, ..EngineConfig::for_machine() };
    let engine = Engine::new(config).unwrap();
    let took = start.elapsed();
    println!("engine made in {took:?}, {} MiB of address space", virtual_mib() - before);

    let mut args = std::env::args().skip(1);
    let (bytes, function, request) = match (args.next(), args.next(), args.next()) {
        (Some(path), Some(function), Some(hex)) => {
            (std::fs::read(path).unwrap(), function, hex::decode(hex).unwrap())
        }
        _ => {
            let core = r#"(func (export "double") (param i32) (result i32)
                (i32.mul (local.get 0) (i32.const 2)))"#;
            let bytes = component(core, &[("double", r#"(param "n" u32) (result u32)"#)]);
            (bytes, "double".to_owned(), number(1, 21))
        }
    };
    for policy in ["per-call", "pooled"] {
        let spec = format!(
            "instances: {{policy: {policy}, warm: 64, max_uses: 1000000}}\nquota: {{queue: 1000}}"
        );
        let guest = prepare(&engine, "speed", &bytes, &spec);
        let start = Instant::now();
        guest.module.load().unwrap();
        println!("{policy}: loaded in {:?}", start.elapsed());
        for callers in [1, 16, 64] {
            let (each, cpu) = measure(&guest, &function, &request, callers);
            println!(
                "{policy}: {callers} callers: {:.1} µs a call, {:.1} µs of them on guest threads",
                each.as_secs_f64() * 1e6,
                cpu.as_secs_f64() * 1e6
            );
        }
    }
}

/// Wall time and guest thread time of one call among many.
fn measure(guest: &Guest, function: &str, request: &[u8], callers: u32) -> (Duration, Duration) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let cpu = guest.module.stats().cpu;
    let each = CALLS / callers;
    let start = Instant::now();
    runtime.block_on(async {
        let callers: Vec<_> = (0..callers)
            .map(|_| {
                let (guest, function, request) =
                    (guest.clone(), function.to_owned(), request.to_vec());
                tokio::spawn(async move {
                    for _ in 0..each {
                        guest.call(&function, request.clone()).await.result.unwrap();
                    }
                })
            })
            .collect();
        for caller in callers {
            caller.await.unwrap();
        }
    });
    let calls = each * callers;
    (start.elapsed() / calls, (guest.module.stats().cpu - cpu) / calls)
}

fn virtual_mib() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmSize:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() >> 10
}
