//! Splits a text into words and counts them.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};

use crate::bindings::exports::demo::text_stats::analyze::{WordCount, WordOptions};

/// Apostrophes and hyphens belong to a word when letters or digits stand on both sides.
const JOINERS: [char; 4] = ['\'', '’', '-', '‐'];

/// The words of a text, as they are written.
pub(crate) fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && !JOINERS.contains(&c))
        .map(|run| run.trim_matches(JOINERS))
        .filter(|word| !word.is_empty())
}

pub(crate) fn count(text: &str, options: &WordOptions) -> BTreeMap<String, u32> {
    let fold = |word: &str| match options.case_sensitive {
        true => word.to_owned(),
        false => word.to_lowercase(),
    };
    let stop_words: BTreeSet<String> = options.stop_words.iter().map(|word| fold(word)).collect();
    let min_length = usize::try_from(options.min_length).unwrap_or(usize::MAX);
    let mut counts = BTreeMap::new();
    for word in words(text).filter(|word| min_length <= word.chars().count()).map(fold) {
        if !stop_words.contains(&word) {
            let count: &mut u32 = counts.entry(word).or_default();
            *count = count.saturating_add(1);
        }
    }
    counts
}

pub(crate) fn top(text: &str, n: u32, options: &WordOptions) -> Vec<WordCount> {
    let mut counts: Vec<(String, u32)> = count(text, options).into_iter().collect();
    // The sort is stable, so words with equal counts stay in the order of the alphabet.
    counts.sort_by_key(|(_, count)| Reverse(*count));
    counts.truncate(usize::try_from(n).unwrap_or(usize::MAX));
    counts.into_iter().map(|(word, count)| WordCount { word, count }).collect()
}

/// The cosine between the two texts' word counts.
pub(crate) fn similarity(a: &str, b: &str) -> f64 {
    let options = WordOptions { case_sensitive: false, min_length: 0, stop_words: Vec::new() };
    let (a, b) = (count(a, &options), count(b, &options));
    let square = |counts: &BTreeMap<String, u32>| -> f64 {
        counts.values().map(|count| f64::from(*count).powi(2)).sum()
    };
    let shared: f64 = a
        .iter()
        .filter_map(|(word, count)| Some(f64::from(*count) * f64::from(*b.get(word)?)))
        .sum();
    let length = (square(&a) * square(&b)).sqrt();
    if length == 0.0 { 0.0 } else { (shared / length).min(1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> WordOptions {
        WordOptions { case_sensitive: false, min_length: 0, stop_words: Vec::new() }
    }

    fn split(text: &str) -> Vec<&str> {
        words(text).collect()
    }

    #[test]
    fn joiners_count_only_inside_a_word() {
        assert_eq!(split("It's a well-known -- 'fact'."), ["It's", "a", "well-known", "fact"]);
        assert_eq!(split("'' - ’"), [] as [&str; 0]);
        assert_eq!(split("Übergröße, 3.5 naïve"), ["Übergröße", "3", "5", "naïve"]);
    }

    #[test]
    fn case_and_length_and_stop_words_select() {
        let text = "The cat and the Cat.";
        assert_eq!(count(text, &options())["the"], 2);
        let sensitive = count(text, &WordOptions { case_sensitive: true, ..options() });
        assert_eq!(sensitive.get("The"), Some(&1));
        assert_eq!(sensitive.get("cat"), Some(&1));
        let stop_words = vec!["THE".to_owned(), "and".to_owned()];
        let chosen = count(text, &WordOptions { stop_words, ..options() });
        assert_eq!(chosen, BTreeMap::from([("cat".to_owned(), 2)]));
        let long = count("a bb ccc", &WordOptions { min_length: 3, ..options() });
        assert_eq!(long, BTreeMap::from([("ccc".to_owned(), 1)]));
    }

    #[test]
    fn the_top_is_ordered_and_short() {
        let top = top("b a c b a d", 3, &options());
        let pairs: Vec<(&str, u32)> =
            top.iter().map(|entry| (entry.word.as_str(), entry.count)).collect();
        assert_eq!(pairs, [("a", 2), ("b", 2), ("c", 1)]);
        assert!(super::top("a", 0, &options()).is_empty());
        assert_eq!(super::top("a", u32::MAX, &options()).len(), 1);
    }

    #[test]
    fn similarity_runs_from_nothing_to_the_same() {
        assert!((similarity("a b", "B a") - 1.0).abs() < 1e-12);
        assert!((similarity("a a b b", "a b") - 1.0).abs() < 1e-12);
        assert!((similarity("a b", "a c") - 0.5).abs() < 1e-12);
        assert_eq!(similarity("a", "b"), 0.0);
        assert_eq!(similarity("", "b"), 0.0);
    }
}
