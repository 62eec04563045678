//! How WIT names are written in protobuf, and which of them protobuf takes for one another.

use std::collections::HashMap;

/// `text-stats` → `TextStats`.
pub(crate) fn camel(kebab: &str) -> String {
    kebab.split('-').map(capital).collect()
}

/// `HTTP-code` → `http_code`.
pub(crate) fn snake(kebab: &str) -> String {
    kebab.replace('-', "_").to_ascii_lowercase()
}

/// `deep-blue` → `DEEP_BLUE`.
pub(crate) fn upper(kebab: &str) -> String {
    kebab.replace('-', "_").to_ascii_uppercase()
}

/// The rpc of a function by its name in the lock: `[constructor]crane` → `Create`,
/// `[method]crane/lift-up` → `LiftUp`.
pub(crate) fn rpc(function: &str) -> String {
    match function.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some(("constructor", _)) => "Create".to_owned(),
        Some(("drop", _)) => "Drop".to_owned(),
        Some((_, name)) => camel(name.split_once('/').map_or(name, |(_, name)| name)),
        None => camel(function),
    }
}

/// A module's name as a segment of a package. Module names may start with a digit.
pub(crate) fn module_segment(name: &str) -> String {
    let segment = snake(name);
    if segment.starts_with(|c: char| c.is_ascii_digit()) { format!("_{segment}") } else { segment }
}

/// The default JSON name of a field; protobuf refuses two fields that share one.
pub(crate) fn json_name(field: &str) -> String {
    joined(field, false)
}

/// The name of the message that protobuf makes for the entries of a map field.
pub(crate) fn map_entry(field: &str) -> String {
    joined(field, true) + "Entry"
}

/// What protobuf compares enum values by: `A_1` and `A1` are one name to it.
pub(crate) fn value_identity(value: &str) -> String {
    value.split('_').map(capital).collect()
}

/// Finds free names by numbering those that are taken.
///
/// It remembers how far each name got: thousands of WIT names can be one name to protobuf.
#[derive(Debug, Default)]
pub(crate) struct Numbering(HashMap<String, u32>);

impl Numbering {
    /// `wanted`, else the first of `wanted` with 2, 3, … that is free. Names of one `identity` get
    /// in each other's way.
    pub(crate) fn name(
        &mut self,
        wanted: &str,
        separator: &str,
        identity: String,
        is_free: impl Fn(&str) -> bool,
    ) -> String {
        if is_free(wanted) {
            return wanted.to_owned();
        }
        let number = self.0.entry(identity).or_insert(1);
        loop {
            *number = number.saturating_add(1);
            let name = format!("{wanted}{separator}{number}");
            if is_free(&name) {
                return name;
            }
        }
    }

    /// The name of a type: `wanted`, else with `Type` behind it, else numbered.
    pub(crate) fn type_name(&mut self, wanted: &str, is_free: impl Fn(&str) -> bool) -> String {
        if is_free(wanted) {
            return wanted.to_owned();
        }
        let wanted = format!("{wanted}Type");
        self.name(&wanted, "", wanted.clone(), is_free)
    }
}

fn capital(word: &str) -> String {
    let mut chars = word.chars();
    let first = chars.next().map(|c| c.to_ascii_uppercase());
    first.into_iter().chain(chars.map(|c| c.to_ascii_lowercase())).collect()
}

fn joined(field: &str, capitalize_first: bool) -> String {
    let mut capitalize = capitalize_first;
    let mut name = String::with_capacity(field.len());
    for c in field.chars() {
        if c == '_' {
            capitalize = true;
        } else {
            name.push(if capitalize { c.to_ascii_uppercase() } else { c });
            capitalize = false;
        }
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kebab_words_are_lowered_before_joining() {
        assert_eq!(camel("HTTP-code"), "HttpCode");
        assert_eq!(snake("HTTP-code"), "http_code");
        assert_eq!(upper("HTTP-code"), "HTTP_CODE");
        assert_eq!(camel("a-1b"), "A1b");
        assert_eq!(rpc("lift-up"), "LiftUp");
        assert_eq!(rpc("[method]big-crane/lift-up"), "LiftUp");
        assert_eq!(rpc("[constructor]big-crane"), "Create");
        assert_eq!(module_segment("9-lives"), "_9_lives");
    }

    #[test]
    fn names_that_protobuf_confuses_are_seen_as_one() {
        assert_eq!(json_name("foo_bar"), "fooBar");
        assert_eq!(json_name("a_1"), json_name("a1"));
        assert_eq!(value_identity("X_A_1"), value_identity("X_A1"));
        assert_eq!(map_entry("foo_bar"), "FooBarEntry");
    }

    #[test]
    fn taken_names_get_type_or_a_number() {
        let mut numbering = Numbering::default();
        let mut type_name =
            |taken: &[&str]| numbering.type_name("Item", |name| !taken.contains(&name));
        assert_eq!(type_name(&[]), "Item");
        assert_eq!(type_name(&["Item"]), "ItemType");
        assert_eq!(type_name(&["Item", "ItemType"]), "ItemType2");
        assert_eq!(type_name(&["Item", "ItemType", "ItemType2"]), "ItemType3");
        let taken = ["x", "x_2"];
        let name = numbering.name("x", "_", "x".to_owned(), |name| !taken.contains(&name));
        assert_eq!(name, "x_3");
    }
}
