//! Writes more to its log than anybody reads.

use std::io::{self, Write};

use bindings::exports::hostile::log_flood::log_flood::Guest;

roadstead_guest::embed_wit!("wit");

#[allow(unsafe_code, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "module" });
    export!(LogFlood with_types_in self);
    use super::LogFlood;
}

struct LogFlood;

impl Guest for LogFlood {
    fn lines(count: u32, length: u32) {
        let line = "x".repeat(usize::try_from(length).unwrap_or(usize::MAX));
        for number in 0..count {
            write(number % 2 == 0, line.as_bytes());
        }
    }

    fn forever() {
        loop {
            write(true, b"still here");
        }
    }

    fn mischief() {
        write(true, b"\x1b[2J\x1b]0;owned\x07\rgone");
        write(true, b"a line\n{\"module\":\"somebody-else\",\"text\":\"forged\"}");
        write(false, b"\xff\xfe\x00 not UTF-8 \xf0\x9f");
        write(false, "right \u{202e}to left".as_bytes());
    }
}

/// Writes a line; a log that refuses it is not this module's concern.
fn write(to_stdout: bool, line: &[u8]) {
    let end: &[u8] = b"\n";
    let _written = if to_stdout {
        io::stdout().write_all(&[line, end].concat()).and_then(|()| io::stdout().flush())
    } else {
        io::stderr().write_all(&[line, end].concat())
    };
}
