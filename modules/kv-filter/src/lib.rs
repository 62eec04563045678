//! Searches files of keys and values in an allowed directory.

mod directory;
mod entries;
mod matching;

use std::{collections::BTreeMap, path::Path};

use bindings::exports::demo::kv_filter::filter::{File, Found, Guest, Problem, Query};

use crate::{directory::Directory, matching::Matching};

roadstead_guest::embed_wit!("wit");

#[allow(unsafe_code, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "module", additional_derives: [PartialEq] });
    export!(KvFilter with_types_in self);
    use super::KvFilter;
}

/// Where the spec places the granted directory.
const DATA: &str = "/data";
const DEFAULT_LIMIT: u32 = 100;

struct KvFilter;

impl Guest for KvFilter {
    fn files() -> Result<Vec<File>, Problem> {
        Directory::open(Path::new(DATA))?.files()
    }

    fn find(query: Query) -> Result<Found, Problem> {
        find(&Directory::open(Path::new(DATA))?, &query)
    }

    fn group(file: String, separator: char) -> Result<BTreeMap<String, u64>, Problem> {
        group(&Directory::open(Path::new(DATA))?, &file, separator)
    }
}

fn find(directory: &Directory, query: &Query) -> Result<Found, Problem> {
    let (keys, values) = (Matching::new(&query.keys)?, Matching::new(&query.values)?);
    let limit = if query.limit == 0 { DEFAULT_LIMIT } else { query.limit };
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    let mut found = Found { entries: Vec::new(), scanned: 0, more: false };
    for entry in directory.entries(&query.file)? {
        let entry = entry?;
        found.scanned = entry.line;
        if keys.accepts(&entry.key) && values.accepts(&entry.value) {
            if found.entries.len() == limit {
                found.more = true;
                break;
            }
            found.entries.push(entry);
        }
    }
    Ok(found)
}

fn group(
    directory: &Directory,
    file: &str,
    separator: char,
) -> Result<BTreeMap<String, u64>, Problem> {
    let mut groups = BTreeMap::new();
    for entry in directory.entries(file)? {
        let key = entry?.key;
        let name = key.split_once(separator).map_or(key.as_str(), |(before, _)| before);
        *groups.entry(name.to_owned()).or_default() += 1;
    }
    Ok(groups)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bindings::exports::demo::kv_filter::filter::Matcher;

    fn data() -> Directory {
        Directory::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("data")).unwrap()
    }

    fn query(keys: Matcher, values: Matcher, limit: u32) -> Query {
        Query { file: "harbour.ndjson".to_owned(), keys, values, limit }
    }

    fn keys(query: &Query) -> Vec<String> {
        find(&data(), query).unwrap().entries.into_iter().map(|entry| entry.key).collect()
    }

    #[test]
    fn keys_and_values_select() {
        let prefix = |text: &str| Matcher::Prefix(text.to_owned());
        let pattern = |text: &str| Matcher::Pattern(text.to_owned());
        assert_eq!(keys(&query(prefix("crane/"), Matcher::Any, 0)), ["crane/north", "crane/south"]);
        assert_eq!(keys(&query(prefix("crane/"), pattern(r#""free": ?true"#), 0)), ["crane/north"]);
        assert_eq!(keys(&query(Matcher::Any, Matcher::Exactly("Alma".to_owned()), 0)), ["berth/1"]);
        assert_eq!(keys(&query(pattern("^berth/[23]$"), Matcher::Any, 0)), ["berth/2", "berth/3"]);
        assert_eq!(keys(&query(prefix("quay/"), Matcher::Any, 0)), [] as [&str; 0]);
    }

    #[test]
    fn the_limit_says_whether_there_is_more() {
        let all = find(&data(), &query(Matcher::Any, Matcher::Any, 6)).unwrap();
        assert_eq!((all.entries.len(), all.more, all.scanned), (6, false, 6));
        let some = find(&data(), &query(Matcher::Any, Matcher::Any, 2)).unwrap();
        assert_eq!((some.entries.len(), some.more, some.scanned), (2, true, 3));
    }

    #[test]
    fn keys_are_grouped_by_what_stands_before_the_separator() {
        let groups = group(&data(), "harbour.ndjson", '/').unwrap();
        let expected = [("berth", 3), ("crane", 2), ("tide", 1)];
        assert_eq!(groups, expected.map(|(name, count)| (name.to_owned(), count)).into());
        assert_eq!(group(&data(), "ports.tsv", '/').unwrap().len(), 3);
    }

    #[test]
    fn a_bad_pattern_is_named() {
        let bad = query(Matcher::Pattern("(".to_owned()), Matcher::Any, 0);
        assert!(matches!(find(&data(), &bad), Err(Problem::BadPattern(_))));
    }
}
