//! The section's bytes: a JSON array of `[path, text]` pairs.

use crate::files::WitFile;

/// The name of the custom section.
pub(crate) const NAME: &str = "roadstead:wit";

pub(crate) fn encode(files: &[WitFile]) -> Vec<u8> {
    let pairs: Vec<String> =
        files.iter().map(|file| format!("[{},{}]", quote(&file.path), quote(&file.text))).collect();
    format!("[{}]", pairs.join(",")).into_bytes()
}

/// A JSON string.
fn quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for c in text.chars() {
        match c {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            c if c.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(c))),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}

/// The bytes as a Rust byte string.
pub(crate) fn byte_string(bytes: &[u8]) -> String {
    format!("b\"{}\"", bytes.escape_ascii())
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    #[test]
    fn pairs_are_json_with_everything_awkward_escaped() {
        let file = |path: &str, text: &str| WitFile {
            source: PathBuf::new(),
            path: path.to_owned(),
            text: text.to_owned(),
        };
        let section = encode(&[file("a.wit", "/// \"ä\\\"\r\n\t\u{1}"), file("deps/b.wit", "")]);
        assert_eq!(
            String::from_utf8(section).unwrap(),
            r#"[["a.wit","/// \"ä\\\"\u000d\n\u0009\u0001"],["deps/b.wit",""]]"#
        );
        assert_eq!(encode(&[]), b"[]");
    }

    #[test]
    fn byte_strings_are_ascii() {
        assert_eq!(byte_string("\"ä\n".as_bytes()), r#"b"\"\xc3\xa4\n""#);
    }
}
