//! Reads the entries of a file, one line at a time.

use std::io::{self, BufRead, Read};

use serde_json::Value;

use crate::bindings::exports::demo::kv_filter::filter::{BadLine, Entry, Problem};

/// Bytes that one line may have.
const MAX_LINE: u64 = 1 << 20;

/// How a file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    Ndjson,
    Tsv,
}

impl Layout {
    pub(crate) fn of(name: &str) -> Option<Self> {
        match name.rsplit_once('.')? {
            (_, "ndjson" | "jsonl") => Some(Self::Ndjson),
            (_, "tsv") => Some(Self::Tsv),
            _ => None,
        }
    }
}

/// The entries of a file; ends after the first line that cannot be read.
pub(crate) struct Entries<R> {
    reader: R,
    layout: Layout,
    line: u64,
    ended: bool,
}

impl<R: BufRead> Entries<R> {
    pub(crate) fn new(reader: R, layout: Layout) -> Self {
        Self { reader, layout, line: 0, ended: false }
    }

    /// The next line that is not empty.
    fn next_line(&mut self) -> Result<Option<String>, Problem> {
        loop {
            let mut bytes = Vec::new();
            self.line += 1;
            let read = self.reader.by_ref().take(MAX_LINE + 1).read_until(b'\n', &mut bytes);
            match read.map_err(unreadable)? {
                0 => return Ok(None),
                _ if MAX_LINE < bytes.len() as u64 => return Err(self.bad("longer than 1 MiB")),
                _ => {}
            }
            let text = String::from_utf8(bytes).map_err(|_| self.bad("not UTF-8"))?;
            let text = text.trim_end_matches(['\n', '\r']);
            if !text.trim().is_empty() {
                return Ok(Some(text.to_owned()));
            }
        }
    }

    fn parse(&self, text: &str) -> Result<Entry, Problem> {
        let (key, value) = match self.layout {
            Layout::Tsv => {
                let (key, value) = text.split_once('\t').ok_or_else(|| self.bad("no tab"))?;
                (key.to_owned(), value.to_owned())
            }
            Layout::Ndjson => {
                let parsed: Value =
                    serde_json::from_str(text).map_err(|error| self.bad(&error.to_string()))?;
                let key = parsed.get("key").and_then(Value::as_str);
                let key = key.ok_or_else(|| self.bad("no member `key` that is a text"))?;
                let value = parsed.get("value").ok_or_else(|| self.bad("no member `value`"))?;
                let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                (key.to_owned(), value)
            }
        };
        Ok(Entry { key, value, line: self.line })
    }

    fn bad(&self, reason: &str) -> Problem {
        Problem::BadLine(BadLine { line: self.line, reason: reason.to_owned() })
    }
}

impl<R: BufRead> Iterator for Entries<R> {
    type Item = Result<Entry, Problem>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let entry = match self.next_line() {
            Ok(Some(text)) => Some(self.parse(&text)),
            Ok(None) => None,
            Err(problem) => Some(Err(problem)),
        };
        self.ended = !matches!(entry, Some(Ok(_)));
        entry
    }
}

pub(crate) fn unreadable(error: io::Error) -> Problem {
    Problem::Unreadable(error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &[u8], layout: Layout) -> Result<Vec<(String, String, u64)>, Problem> {
        Entries::new(text, layout)
            .map(|entry| entry.map(|entry| (entry.key, entry.value, entry.line)))
            .collect()
    }

    fn bad_line(text: &[u8], layout: Layout) -> (u64, String) {
        match read(text, layout) {
            Err(Problem::BadLine(bad)) => (bad.line, bad.reason),
            other => panic!("{other:?}"),
        }
    }

    fn entry(key: &str, value: &str, line: u64) -> (String, String, u64) {
        (key.to_owned(), value.to_owned(), line)
    }

    #[test]
    fn lines_of_json() {
        let text =
            b"{\"key\":\"a\",\"value\":\"x\"}\r\n\n{\"value\":[1, 2],\"key\":\"b\",\"more\":0}";
        let entries = read(text, Layout::Ndjson).unwrap();
        assert_eq!(entries, [entry("a", "x", 1), entry("b", "[1,2]", 3)]);
    }

    #[test]
    fn lines_of_tabs() {
        let entries = read(b"a\tx y\nb\t\n\nc\td\te\n", Layout::Tsv).unwrap();
        assert_eq!(entries, [entry("a", "x y", 1), entry("b", "", 2), entry("c", "d\te", 4)]);
        assert_eq!(read(b"", Layout::Tsv).unwrap(), []);
    }

    #[test]
    fn a_bad_line_is_named_and_ends_the_reading() {
        assert_eq!(bad_line(b"a\tb\nc\n", Layout::Tsv), (2, "no tab".to_owned()));
        assert_eq!(bad_line(b"\xff\t\n", Layout::Tsv).1, "not UTF-8");
        assert_eq!(bad_line(b"{\"key\":1,\"value\":1}", Layout::Ndjson).0, 1);
        assert_eq!(bad_line(b"\n{\"key\":\"a\"}", Layout::Ndjson).1, "no member `value`");
        assert!(bad_line(b"{", Layout::Ndjson).1.contains("EOF"));
        let mut entries = Entries::new(b"x\na\tb\n".as_slice(), Layout::Tsv);
        assert!(matches!(entries.next(), Some(Err(_))));
        assert!(entries.next().is_none());
    }

    #[test]
    fn long_lines_are_refused_without_being_read_whole() {
        let longest = [b"a\t".as_slice(), &vec![b'x'; (1 << 20) - 3], b"\n"].concat();
        assert_eq!(read(&longest, Layout::Tsv).unwrap().len(), 1);
        let endless = io::BufReader::new(io::repeat(b'x'));
        let mut entries = Entries::new(endless, Layout::Tsv);
        assert!(matches!(entries.next(), Some(Err(Problem::BadLine(_)))));
    }
}
