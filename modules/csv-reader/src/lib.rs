//! Reads CSV while it comes: bytes in, rows or a summary out.

mod csv;
mod table;

use bindings::{
    exports::demo::csv_reader::csv::{CsvError, Guest, Options, Row, Summary},
    wit_future, wit_stream,
};
use wit_bindgen::{FutureReader, StreamReader, StreamResult, StreamWriter, spawn_local};

use crate::{csv::Csv, table::Table};

roadstead_guest::embed_wit!("wit");

#[allow(unsafe_code, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "module", additional_derives: [PartialEq] });
    export!(Module with_types_in self);
    use super::Module;
}

struct Module;

/// Bytes that are read at once.
const PIECE: usize = 64 << 10;

impl Guest for Module {
    async fn rows(
        bytes: StreamReader<u8>,
        options: Options,
    ) -> (StreamReader<Row>, FutureReader<Result<(), CsvError>>) {
        let (writer, rows) = wit_stream::new();
        let (settle, settled) = wit_future::new(|| Ok(()));
        spawn_local(async move {
            let end = pass_on(bytes, &options, writer).await;
            // Whoever reads no more need not hear it.
            settle.write(end).await.ok();
        });
        (rows, settled)
    }

    async fn summarize(
        bytes: StreamReader<u8>,
        options: Options,
        named: bool,
    ) -> Result<Summary, CsvError> {
        let mut table = Table::new(named);
        each(bytes, &options, async |rows| {
            table.add(rows);
            true
        })
        .await?;
        Ok(table.summary())
    }
}

/// Writes the rows, and waits whenever nobody reads them.
async fn pass_on(
    bytes: StreamReader<u8>,
    options: &Options,
    mut writer: StreamWriter<Row>,
) -> Result<(), CsvError> {
    each(bytes, options, async |rows| writer.write_all(rows).await.is_empty()).await
}

/// Gives the rows of each piece of bytes to `take`, until that wants no more.
async fn each(
    mut bytes: StreamReader<u8>,
    options: &Options,
    mut take: impl AsyncFnMut(Vec<Row>) -> bool,
) -> Result<(), CsvError> {
    let mut csv = Csv::new(options)?;
    let mut room = Vec::with_capacity(PIECE);
    loop {
        let (result, mut piece) = bytes.read(room).await;
        let ended = matches!(result, StreamResult::Dropped);
        let mut rows = Vec::new();
        let mut read = csv.read(&piece, &mut rows);
        if ended && read.is_ok() {
            read = csv.finish(&mut rows);
        }
        if !rows.is_empty() && !take(rows).await {
            return Ok(());
        }
        read?;
        if ended {
            return Ok(());
        }
        piece.clear();
        room = piece;
    }
}
