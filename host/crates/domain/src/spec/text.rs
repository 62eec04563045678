//! From a spec's text to the spec, in time and memory that grow with the text and no faster.

use super::{ModuleSpec, SpecError, SpecFormat};

/// Bytes that the text of a spec may have.
const MOST: usize = 64 << 10;

/// Opening brackets in YAML. Its reader looks at all that are open at every step.
const BRACKETS: usize = 2_000;

pub(super) fn read(text: &str, format: SpecFormat) -> Result<ModuleSpec, SpecError> {
    if MOST < text.len() {
        let problem = format!("it has {} bytes, and a spec can have {MOST}", text.len());
        return Err(SpecError::Syntax(problem));
    }
    let read = match format {
        _ if text.trim().is_empty() => Ok(ModuleSpec::default()),
        SpecFormat::Toml => toml::from_str(text).map_err(|error| error.to_string()),
        SpecFormat::Yaml => from_yaml(text),
    };
    read.map_err(SpecError::Syntax)
}

/// Errors begin with the whole path of the field: the parser's own stop above fields whose values
/// are read from text.
fn from_yaml(text: &str) -> Result<ModuleSpec, String> {
    if BRACKETS < text.bytes().filter(|byte| b"[{".contains(byte)).count() {
        return Err(format!("it has more than {BRACKETS} brackets"));
    }
    if has_mark(text, b'&') && has_mark(text, b'*') {
        return Err("a spec has no anchors and aliases: write each value out".to_owned());
    }
    let read = serde_path_to_error::deserialize(serde_norway::Deserializer::from_str(text));
    read.map_err(|error| {
        let (path, problem) = (error.path().to_string(), error.inner().to_string());
        let known = problem.split_once(": ").filter(|(known, _)| path.starts_with(known));
        match known {
            Some((_, rest)) => format!("{path}: {rest}"),
            None => problem,
        }
    })
}

/// Whether a name follows the mark of an anchor or an alias anywhere. Within a word it is neither.
fn has_mark(text: &str, mark: u8) -> bool {
    let named = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-".contains(byte);
    let bytes = text.as_bytes();
    let first = bytes.first() == Some(&mark) && bytes.get(1).is_some_and(named);
    first
        || bytes.windows(3).any(|three| match three {
            [before, at, after] => *at == mark && !before.is_ascii_alphanumeric() && named(after),
            _ => false,
        })
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use super::*;

    fn problem(text: &str) -> String {
        read(text, SpecFormat::Yaml).unwrap_err().to_string()
    }

    #[test]
    fn texts_that_grow_as_they_are_read_are_refused() {
        let deep = format!("name: {}", "[".repeat(BRACKETS + 1));
        assert!(problem(&deep).contains("brackets"), "{}", problem(&deep));
        let blocks = format!("name: {}", "- ".repeat(20_000));
        assert!(problem(&blocks).contains("spec"), "{}", problem(&blocks));
        let long = "x".repeat(30_000);
        let mut many = format!("capabilities: {{env: {{A: &a {long}");
        for number in 0..1_000 {
            write!(many, ", A{number}: *a").unwrap();
        }
        many.push_str("}}");
        assert!(problem(&many).contains("anchors"), "{}", problem(&many));
        let huge = format!("# {}", "x".repeat(MOST));
        for format in [SpecFormat::Yaml, SpecFormat::Toml] {
            let refused = read(&huge, format).unwrap_err().to_string();
            assert!(refused.contains("65536"), "{refused}");
        }
    }

    #[test]
    fn marks_within_values_are_read() {
        let text = "capabilities: {env: {A: 'x=1&y=2 && z *.example.com', B: '*:443 & *'}}";
        let spec = read(text, SpecFormat::Yaml).unwrap();
        assert_eq!(spec.capabilities.env["B"], "*:443 & *");
        assert!(read("capabilities: {env: {A: 'f(&x)'}}", SpecFormat::Yaml).is_ok());
    }
}
