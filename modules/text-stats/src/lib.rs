//! Counts and measures texts.

mod summary;
mod syllables;
mod words;

use std::collections::BTreeMap;

use bindings::exports::demo::text_stats::analyze::{Guest, Summary, WordCount, WordOptions};

roadstead_guest::embed_wit!("wit");

#[allow(unsafe_code, reason = "generated")]
mod bindings {
    wit_bindgen::generate!({ path: "wit", world: "module" });
    export!(TextStats with_types_in self);
    use super::TextStats;
}

struct TextStats;

impl Guest for TextStats {
    fn summarize(text: String) -> Summary {
        summary::summarize(&text)
    }

    fn summarize_all(texts: Vec<String>) -> Vec<Summary> {
        texts.iter().map(|text| summary::summarize(text)).collect()
    }

    fn count_words(text: String, options: WordOptions) -> BTreeMap<String, u32> {
        words::count(&text, &options)
    }

    fn top_words(text: String, n: u32, options: WordOptions) -> Vec<WordCount> {
        words::top(&text, n, &options)
    }

    fn similarity(a: String, b: String) -> f64 {
        words::similarity(&a, &b)
    }
}
