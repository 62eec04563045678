//! Streams of every shape, and every way to misuse one.

use std::{cell::Cell, rc::Rc};

use bindings::{
    exports::hostile::streams::streams::{
        Colour, Counter, Guest, GuestCounter, Mark, Problem, Rights, Row,
    },
    wit_future, wit_stream,
};
use wit_bindgen::{FutureReader, StreamReader, StreamResult, StreamWriter, spawn_local};

roadstead_guest::embed_wit!("wit");

#[allow(unsafe_code, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "module" });
    export!(Streams with_types_in self);
    use super::Streams;
}

struct Streams;

/// Bytes that are read at once.
const PIECE: usize = 64 << 10;

/// What the next number is.
struct Numbers(Rc<Cell<u32>>);

impl Numbers {
    fn give(&self) -> u32 {
        self.0.replace(self.0.get().wrapping_add(1))
    }

    /// Gives so many numbers, and does then what is to be done with the open stream.
    fn stream<F>(
        &self,
        count: u32,
        then: impl FnOnce(StreamWriter<u32>) -> F + 'static,
    ) -> StreamReader<u32>
    where
        F: Future<Output = ()> + 'static,
    {
        let (mut writer, reader) = wit_stream::new();
        let numbers = Self(Rc::clone(&self.0));
        spawn_local(async move {
            let mut given = 0;
            while count == 0 || given < count {
                let number = numbers.0.get();
                if writer.write_one(number).await.is_some() {
                    return;
                }
                numbers.give();
                given = given.wrapping_add(1);
            }
            then(writer).await;
        });
        reader
    }
}

impl GuestCounter for Numbers {
    fn new(start: u32) -> Self {
        Self(Rc::new(Cell::new(start)))
    }

    fn next(&self) -> u32 {
        self.give()
    }

    async fn follow(&self, count: u32) -> StreamReader<u32> {
        self.stream(count, async |_| ())
    }

    async fn stall(&self) -> StreamReader<u32> {
        self.stream(1, async |_open| forever().await)
    }

    async fn trip(&self) -> StreamReader<u32> {
        self.stream(1, async |_open| std::process::abort())
    }

    async fn spend(counter: Counter, count: u32) -> StreamReader<u32> {
        counter.get::<Self>().stream(count, async |_| ())
    }
}

impl Guest for Streams {
    type Counter = Numbers;

    async fn count(count: u32, batch: u32) -> StreamReader<u32> {
        let (writer, reader) = wit_stream::new();
        spawn_local(async move {
            numbers(writer, count, batch).await;
        });
        reader
    }

    async fn rows(count: u32) -> StreamReader<Row> {
        let (mut writer, reader) = wit_stream::new();
        spawn_local(async move {
            for from in (0..count).step_by(100) {
                let rows = (from..count.min(from + 100)).map(row).collect();
                if !writer.write_all(rows).await.is_empty() {
                    return;
                }
            }
        });
        reader
    }

    async fn texts(count: u32, length: u32) -> StreamReader<String> {
        let (mut writer, reader) = wit_stream::new();
        spawn_local(async move {
            let text = "x".repeat(length as usize);
            for _ in 0..count {
                if writer.write_one(text.clone()).await.is_some() {
                    return;
                }
            }
        });
        reader
    }

    async fn bytes(count: u64, chunk: u32) -> StreamReader<u8> {
        let (mut writer, reader) = wit_stream::new();
        spawn_local(async move {
            let mut left = count;
            let mut piece = vec![7; chunk.max(1) as usize];
            while left > 0 {
                piece.resize(usize::try_from(left.min(u64::from(chunk.max(1)))).unwrap_or(1), 7);
                left -= piece.len() as u64;
                let length = piece.len();
                if !writer.write_all(piece).await.is_empty() {
                    return;
                }
                piece = vec![7; length];
            }
        });
        reader
    }

    async fn checked(count: u32) -> Result<StreamReader<u32>, Problem> {
        if count == 0 {
            return Err(Problem::Wrong("nothing to count".to_owned()));
        }
        Ok(Self::count(count, 10).await)
    }

    async fn settled(
        count: u32,
        fails: bool,
    ) -> (StreamReader<u32>, FutureReader<Result<(), Problem>>) {
        let (writer, reader) = wit_stream::new();
        let (settle, settled) = wit_future::new(|| Err(Problem::Wrong("dropped".to_owned())));
        spawn_local(async move {
            numbers(writer, count, 10).await;
            settle.write(if fails { Err(Problem::TooLate) } else { Ok(()) }).await.ok();
        });
        (reader, settled)
    }

    async fn sum(first: u64, mut numbers: StreamReader<u32>) -> u64 {
        let mut sum = first;
        let mut room = Vec::with_capacity(1024);
        loop {
            let (result, mut read) = numbers.read(room).await;
            sum = read.iter().fold(sum, |sum, number| sum.wrapping_add(u64::from(*number)));
            read.clear();
            room = read;
            if matches!(result, StreamResult::Dropped) {
                return sum;
            }
        }
    }

    async fn measure(body: (StreamReader<u8>, FutureReader<Result<(), Problem>>)) -> (u64, u64) {
        let (mut bytes, settled) = body;
        let (mut count, mut sum) = (0, 0);
        let mut room = Vec::with_capacity(PIECE);
        loop {
            let (result, mut read) = bytes.read(room).await;
            count += read.len() as u64;
            sum += read.iter().map(|byte| u64::from(*byte)).sum::<u64>();
            read.clear();
            room = read;
            if matches!(result, StreamResult::Dropped) {
                break;
            }
        }
        match settled.await {
            Ok(()) => (count, sum),
            Err(_) => (0, 0),
        }
    }

    async fn some(mut numbers: StreamReader<u32>, most: u32) -> u32 {
        let mut read = 0;
        while read < most && numbers.next().await.is_some() {
            read += 1;
        }
        read
    }

    async fn echo(mut rows: StreamReader<Row>) -> StreamReader<Row> {
        let (mut writer, reader) = wit_stream::new();
        spawn_local(async move {
            while let Some(row) = rows.next().await {
                if writer.write_one(row).await.is_some() {
                    return;
                }
            }
        });
        reader
    }

    async fn pass(bytes: StreamReader<u8>) -> StreamReader<u8> {
        bytes
    }

    async fn double(mut numbers: StreamReader<u32>) -> StreamReader<u64> {
        let (mut writer, reader) = wit_stream::new();
        spawn_local(async move {
            let mut room = Vec::with_capacity(256);
            loop {
                let (result, mut read) = numbers.read(room).await;
                let doubled = read.iter().map(|number| u64::from(*number) * 2).collect();
                if !writer.write_all(doubled).await.is_empty() {
                    return;
                }
                read.clear();
                room = read;
                if matches!(result, StreamResult::Dropped) {
                    return;
                }
            }
        });
        reader
    }

    async fn awaited(number: u32) -> u32 {
        wit_bindgen::yield_async().await;
        number + 1
    }

    async fn later(number: u32) -> FutureReader<Row> {
        let (settle, settled) = wit_future::new(|| row(0));
        spawn_local(async move {
            settle.write(row(number)).await.ok();
        });
        settled
    }

    async fn promised() -> FutureReader<Result<u32, Problem>> {
        let (settle, settled) = wit_future::new(|| Ok(0));
        spawn_local(async move {
            settle.write(Err(Problem::Wrong("promises".to_owned()))).await.ok();
        });
        settled
    }

    async fn never() -> FutureReader<u32> {
        let (settle, settled) = wit_future::new(|| 0);
        spawn_local(async move {
            forever().await;
            drop(settle);
        });
        settled
    }

    async fn silent() -> StreamReader<u32> {
        let (writer, reader) = wit_stream::new();
        spawn_local(async move {
            forever().await;
            drop(writer);
        });
        reader
    }

    async fn deaf(unread: StreamReader<u32>) -> StreamReader<u32> {
        let (writer, reader) = wit_stream::new();
        spawn_local(async move {
            numbers(writer, 0, 10).await;
            drop(unread);
        });
        reader
    }

    async fn trap_after(count: u32) -> StreamReader<u32> {
        let (writer, reader) = wit_stream::new();
        spawn_local(async move {
            let _open = numbers(writer, count, 10).await;
            std::process::abort();
        });
        reader
    }

    async fn spin_after(count: u32) -> StreamReader<u32> {
        let (writer, reader) = wit_stream::new();
        spawn_local(async move {
            let writer = numbers(writer, count, 10).await;
            let mut turns = 0_u64;
            while turns < u64::MAX {
                turns = std::hint::black_box(turns + 1);
            }
            drop(writer);
        });
        reader
    }

    async fn swell() -> StreamReader<u32> {
        let (mut writer, reader) = wit_stream::new();
        spawn_local(async move {
            let mut kept = Vec::new();
            for number in 0.. {
                kept.push(vec![1_u8; 1 << 20]);
                if writer.write_one(number).await.is_some() {
                    return;
                }
            }
        });
        reader
    }

    async fn open_all() -> u32 {
        let mut open = Vec::new();
        loop {
            open.push(wit_stream::new::<u32>());
        }
    }
}

/// Writes the numbers from 0 on, without end for a count of 0.
async fn numbers(mut writer: StreamWriter<u32>, count: u32, batch: u32) -> StreamWriter<u32> {
    let mut next = 0;
    while count == 0 || next < count {
        let end = next.saturating_add(batch.max(1));
        let end = if count == 0 { end } else { end.min(count) };
        if !writer.write_all((next..end).collect()).await.is_empty() {
            break;
        }
        next = if end == u32::MAX { 0 } else { end };
    }
    writer
}

fn row(id: u32) -> Row {
    Row {
        id: u64::from(id),
        text: format!("row {id}"),
        ratio: id.is_multiple_of(2).then(|| f64::from(id) / 2.0),
        mark: match id % 3 {
            0 => Mark::None,
            1 => Mark::Number(-1),
            _ => Mark::Words(vec!["a".to_owned(), id.to_string()]),
        },
        colour: match id % 3 {
            0 => Colour::Red,
            1 => Colour::Green,
            _ => Colour::Blue,
        },
        rights: if id.is_multiple_of(2) { Rights::READ | Rights::RUN } else { Rights::empty() },
        cells: (0..4)
            .take(id as usize % 4)
            .map(|cell: u8| (cell, "c".repeat(cell.into())))
            .collect(),
        done: if id.is_multiple_of(5) { Err(7) } else { Ok('ü') },
    }
}

/// Waits for a number that nobody will ever write.
async fn forever() {
    let (_open, mut reader) = wit_stream::new::<u32>();
    reader.next().await;
}
