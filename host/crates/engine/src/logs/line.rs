//! One line of a module's output, made fit for a terminal.

use std::{fmt, time::SystemTime};

use roadstead_domain::{CallId, Version};

/// Where a line comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Source {
    Stdout,
    Stderr,
    /// `wasi:logging`, by level.
    Trace,
    Debug,
    Info,
    Warn,
    Error,
    Critical,
    /// The host's own remark, such as about lines that were dropped.
    Host,
}

/// One line. The text holds no control characters, whatever the guest wrote.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogLine {
    /// Counts up by one with every line of the module; gaps are lines that are no longer kept.
    pub sequence: u64,
    pub time: SystemTime,
    pub version: Version,
    pub call: CallId,
    pub source: Source,
    pub text: String,
}

/// The most bytes of a line's text; what is longer goes on in the next line.
pub(crate) const LONGEST: usize = 4 << 10;

impl Source {
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Stdout => "stdout",
            Self::Stderr => "stderr",
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
            Self::Critical => "critical",
            Self::Host => "host",
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl LogLine {
    /// Bytes that keeping the line costs.
    pub(super) fn cost(&self) -> usize {
        size_of::<Self>().saturating_add(self.text.capacity()).saturating_add(64)
    }
}

/// What a guest wrote, as text that is safe to show: bytes that are not UTF-8 are replaced, and
/// control characters (escape sequences of terminals, line breaks, changes of writing direction)
/// are spelled out.
pub(crate) fn readable(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for c in String::from_utf8_lossy(bytes).chars() {
        if c != '\t' && is_control(c) {
            text.extend(c.escape_default());
        } else {
            text.push(c);
        }
    }
    text
}

/// Control and format characters that make a terminal or a reader see something else than what is
/// there.
fn is_control(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guest_text_cannot_drive_a_terminal() {
        for (written, shown) in [
            (&b"plain\ttext"[..], "plain\ttext"),
            (b"\x1b[2J\x1b]0;owned\x07", "\\u{1b}[2J\\u{1b}]0;owned\\u{7}"),
            (b"a\rb\nc\0", "a\\rb\\nc\\u{0}"),
            ("\u{9b}31m é ✓".as_bytes(), "\\u{9b}31m é ✓"),
            ("safe\u{202e}gnp.exe".as_bytes(), "safe\\u{202e}gnp.exe"),
            (b"\xff\xfeok", "\u{fffd}\u{fffd}ok"),
        ] {
            assert_eq!(readable(written), shown);
        }
    }
}
