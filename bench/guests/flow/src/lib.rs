//! What the benchmarks call of streams.

use bindings::{exports::bench::flow::flow::Guest, wit_stream};
use wit_bindgen::{StreamReader, StreamResult, StreamWriter, spawn_local};

#[allow(unsafe_code, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "../wit-flow", world: "streams" });
    export!(Flow with_types_in self);
    use super::Flow;
}

struct Flow;

/// Items that are written or read at once.
const NUMBERS: usize = 256;

/// Bytes that are written or read at once.
const CHUNK: usize = 64 << 10;

/// Each byte.
const BYTE: u8 = 0x5a;

impl Guest for Flow {
    async fn numbers_out(count: u32) -> StreamReader<u32> {
        let (mut writer, reader) = wit_stream::new();
        spawn_local(async move {
            for from in (1..=count).step_by(NUMBERS) {
                let numbers = (from..=count).take(NUMBERS).collect();
                if !writer.write_all(numbers).await.is_empty() {
                    return;
                }
            }
        });
        reader
    }

    async fn numbers_in(items: StreamReader<u32>) -> u32 {
        count(items, NUMBERS).await
    }

    async fn numbers_echo(items: StreamReader<u32>) -> StreamReader<u32> {
        let (writer, reader) = wit_stream::new();
        spawn_local(give_back(items, writer, NUMBERS));
        reader
    }

    async fn bytes_out(count: u32) -> StreamReader<u8> {
        let (mut writer, reader) = wit_stream::new();
        spawn_local(async move {
            let mut left = usize::try_from(count).unwrap_or(0);
            while left > 0 {
                let chunk = left.min(CHUNK);
                left -= chunk;
                if !writer.write_all(vec![BYTE; chunk]).await.is_empty() {
                    return;
                }
            }
        });
        reader
    }

    async fn bytes_in(items: StreamReader<u8>) -> u32 {
        count(items, CHUNK).await
    }

    async fn bytes_echo(items: StreamReader<u8>) -> StreamReader<u8> {
        let (writer, reader) = wit_stream::new();
        spawn_local(give_back(items, writer, CHUNK));
        reader
    }
}

/// Reads until the end, so many items at a time.
async fn count<T>(mut items: StreamReader<T>, at_once: usize) -> u32 {
    let mut count = 0;
    let mut room = Vec::with_capacity(at_once);
    loop {
        let (result, mut read) = items.read(room).await;
        count += u32::try_from(read.len()).unwrap_or(u32::MAX);
        if matches!(result, StreamResult::Dropped) {
            return count;
        }
        read.clear();
        room = read;
    }
}

async fn give_back<T>(mut from: StreamReader<T>, mut to: StreamWriter<T>, at_once: usize) {
    loop {
        let (result, read) = from.read(Vec::with_capacity(at_once)).await;
        if !to.write_all(read).await.is_empty() || matches!(result, StreamResult::Dropped) {
            return;
        }
    }
}
