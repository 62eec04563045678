//! Rows out of bytes that come in pieces: the rows do not depend on where the pieces end.

use csv_core::{ReadRecordResult, Reader, ReaderBuilder};

use crate::bindings::exports::demo::csv_reader::csv::{CsvError, Options, Ragged, Row, Trouble};

/// Bytes of a row's fields. The reader wants room for one more than there is.
const MOST_BYTES: usize = 1 << 20;

const MOST_FIELDS: usize = 10_000;

const BYTE_ORDER_MARK: &[u8] = "\u{feff}".as_bytes();

/// What is known so far.
pub(crate) struct Csv {
    reader: Reader,
    ragged: bool,
    /// The first bytes, until it is clear whether they are a mark.
    head: Option<Vec<u8>>,
    text: Buffer<u8>,
    ends: Buffer<usize>,
    /// The line of the next byte.
    line: u64,
    /// Where the row begins that is being read.
    begins: Option<u64>,
    /// Fields of the first row.
    wanted: Option<usize>,
}

/// Room that grows up to a bound, and how much of it is used.
struct Buffer<T> {
    room: Vec<T>,
    used: usize,
    most: usize,
}

impl Csv {
    pub(crate) fn new(options: &Options) -> Result<Self, CsvError> {
        let delimiter = options.delimiter.unwrap_or(',');
        let byte = u8::try_from(delimiter).ok().filter(|byte| byte.is_ascii());
        let byte = byte.filter(|byte| !b"\"\r\n".contains(byte));
        let byte = byte.ok_or(CsvError { line: 0, trouble: Trouble::Delimiter })?;
        Ok(Self {
            reader: ReaderBuilder::new().delimiter(byte).build(),
            ragged: options.ragged,
            head: Some(Vec::new()),
            text: Buffer::new(MOST_BYTES + 1),
            ends: Buffer::new(MOST_FIELDS + 1),
            line: 1,
            begins: None,
            wanted: None,
        })
    }

    /// Adds the rows that end within the next piece.
    pub(crate) fn read(&mut self, piece: &[u8], rows: &mut Vec<Row>) -> Result<(), CsvError> {
        let Some(head) = &mut self.head else { return self.parse(piece, rows) };
        head.extend_from_slice(piece);
        if head.len() < BYTE_ORDER_MARK.len() {
            return Ok(());
        }
        self.begin(rows)
    }

    /// Adds the row that nothing but the end of the bytes ends.
    pub(crate) fn finish(&mut self, rows: &mut Vec<Row>) -> Result<(), CsvError> {
        self.begin(rows)?;
        while self.begins.is_some() {
            // As if the last line had its end; what that does not end is a quote.
            if self.step(b"\n", rows)? == 1 && self.begins.is_some() {
                return Err(self.error(Trouble::OpenQuote));
            }
        }
        Ok(())
    }

    fn begin(&mut self, rows: &mut Vec<Row>) -> Result<(), CsvError> {
        let Some(head) = self.head.take() else { return Ok(()) };
        self.parse(head.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&head), rows)
    }

    fn parse(&mut self, mut input: &[u8], rows: &mut Vec<Row>) -> Result<(), CsvError> {
        loop {
            if self.begins.is_none() {
                // What is left of the last row's line, and lines with nothing in them.
                let text = input.iter().position(|byte| !b"\r\n".contains(byte));
                let (ends, rest) = input.split_at(text.unwrap_or(input.len()));
                self.line += lines(ends);
                input = rest;
            }
            if input.is_empty() {
                return Ok(());
            }
            self.begins.get_or_insert(self.line);
            let taken = self.step(input, rows)?;
            input = input.get(taken..).unwrap_or_default();
        }
    }

    /// Reads on within a row, and says how many bytes were taken.
    fn step(&mut self, input: &[u8], rows: &mut Vec<Row>) -> Result<usize, CsvError> {
        let (text, ends) = (self.text.left(), self.ends.left());
        let (result, taken, written, ended) = self.reader.read_record(input, text, ends);
        self.text.used += written;
        self.ends.used += ended;
        self.line += lines(input.get(..taken).unwrap_or_default());
        let fits = match result {
            ReadRecordResult::InputEmpty | ReadRecordResult::End => true,
            ReadRecordResult::OutputFull => self.text.grow(),
            ReadRecordResult::OutputEndsFull => self.ends.grow(),
            ReadRecordResult::Record => {
                rows.push(self.row()?);
                true
            }
        };
        if fits { Ok(taken) } else { Err(self.error(Trouble::TooLarge)) }
    }

    fn row(&mut self) -> Result<Row, CsvError> {
        let found = self.ends.used;
        if MOST_FIELDS < found || MOST_BYTES < self.text.used {
            return Err(self.error(Trouble::TooLarge));
        }
        let wanted = *self.wanted.get_or_insert(found);
        if !self.ragged && wanted != found {
            let [wanted, found] = [wanted, found].map(number);
            return Err(self.error(Trouble::Ragged(Ragged { wanted, found })));
        }
        let mut fields = Vec::with_capacity(found);
        let mut start = 0;
        for end in self.ends.content() {
            let bytes = self.text.content().get(start..*end).unwrap_or_default();
            let Ok(text) = str::from_utf8(bytes) else {
                return Err(self.error(Trouble::NotText(number(fields.len()))));
            };
            fields.push(text.to_owned());
            start = *end;
        }
        (self.text.used, self.ends.used) = (0, 0);
        let line = self.begins.take().unwrap_or(self.line);
        Ok(Row { line, fields })
    }

    fn error(&self, trouble: Trouble) -> CsvError {
        CsvError { line: self.begins.unwrap_or(self.line), trouble }
    }
}

impl<T: Clone + Default> Buffer<T> {
    fn new(most: usize) -> Self {
        Self { room: vec![T::default(); most.min(256)], used: 0, most }
    }

    fn left(&mut self) -> &mut [T] {
        self.room.get_mut(self.used..).unwrap_or_default()
    }

    fn content(&self) -> &[T] {
        self.room.get(..self.used).unwrap_or_default()
    }

    /// Doubles the room; false where it is as large as may be.
    fn grow(&mut self) -> bool {
        let larger = self.room.len().saturating_mul(2).min(self.most);
        let grows = self.room.len() < larger;
        self.room.resize(larger, T::default());
        grows
    }
}

fn lines(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte == b'\n')).sum()
}

fn number(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
