//! A text in numbers.

use std::collections::BTreeSet;

use crate::{
    bindings::exports::demo::text_stats::analyze::{Readability, Summary},
    syllables::syllables,
    words::words,
};

pub(crate) fn summarize(text: &str) -> Summary {
    let mut word_count = 0_u64;
    let mut word_characters = 0_u64;
    let mut syllable_count = 0_u64;
    let mut distinct = BTreeSet::new();
    let mut longest = (0, None);
    for word in words(text) {
        let length = whole(word.chars().count());
        word_count += 1;
        word_characters += length;
        syllable_count += syllables(word);
        distinct.insert(word.to_lowercase());
        if longest.0 < length {
            longest = (length, Some(word));
        }
    }
    let sentences = sentences(text);
    let ratio = |part: u64, all: u64| if all == 0 { 0.0 } else { part as f64 / all as f64 };
    let readability = (word_count != 0).then(|| {
        let sentence_length = ratio(word_count, sentences.max(1));
        let word_syllables = ratio(syllable_count, word_count);
        let word_length = ratio(word_characters, word_count);
        Readability {
            reading_ease: 206.835 - 1.015 * sentence_length - 84.6 * word_syllables,
            grade_level: 0.39 * sentence_length + 11.8 * word_syllables - 15.59,
            automated_index: 4.71 * word_length + 0.5 * sentence_length - 21.43,
        }
    });
    Summary {
        bytes: whole(text.len()),
        characters: whole(text.chars().count()),
        lines: whole(text.lines().count()),
        paragraphs: paragraphs(text),
        sentences,
        words: word_count,
        distinct_words: whole(distinct.len()),
        longest_word: longest.1.map(str::to_owned),
        mean_word_length: ratio(word_characters, word_count),
        readability,
    }
}

/// Sentences end with `.`, `!`, `?` or `…` before white space, or with the text.
fn sentences(text: &str) -> u64 {
    let ends = |token: &str| {
        token.trim_end_matches(['"', '\'', '”', '’', ')']).ends_with(['.', '!', '?', '…'])
    };
    let mut count = 0;
    let mut open = false;
    for token in text.split_whitespace() {
        open |= token.contains(char::is_alphanumeric);
        if open && ends(token) {
            count += 1;
            open = false;
        }
    }
    count + u64::from(open)
}

fn paragraphs(text: &str) -> u64 {
    let mut count = 0;
    let mut inside = false;
    for line in text.lines() {
        let blank = line.trim().is_empty();
        count += u64::from(!blank && !inside);
        inside = !blank;
    }
    count
}

fn whole(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_text() {
        let summary = summarize("The ship lies at anchor. It waits!\n\nThe harbour sleeps");
        assert_eq!(summary.lines, 3);
        assert_eq!(summary.paragraphs, 2);
        assert_eq!(summary.sentences, 3);
        assert_eq!(summary.words, 10);
        assert_eq!(summary.distinct_words, 9);
        assert_eq!(summary.longest_word.as_deref(), Some("harbour"));
        assert!((summary.mean_word_length - 4.2).abs() < 1e-9);
        let readability = summary.readability.unwrap();
        let syllable_count: u64 =
            words("The ship lies at anchor. It waits! The harbour sleeps").map(syllables).sum();
        assert_eq!(syllable_count, 12);
        assert!((readability.grade_level - (0.39 * 10.0 / 3.0 + 11.8 * 1.2 - 15.59)).abs() < 1e-9);
    }

    #[test]
    fn characters_are_not_bytes() {
        let summary = summarize("größer");
        assert_eq!((summary.bytes, summary.characters, summary.words), (8, 6, 1));
    }

    #[test]
    fn nothing_to_measure() {
        for text in ["", "  \n\n", "… !?"] {
            let summary = summarize(text);
            assert_eq!((summary.words, summary.sentences), (0, 0), "{text:?}");
            assert!(summary.readability.is_none() && summary.longest_word.is_none());
            assert_eq!(summary.mean_word_length, 0.0);
        }
    }

    #[test]
    fn sentences_end_before_white_space_only() {
        assert_eq!(sentences("Pi is 3.14. So he said: \"It is.\" Wait..."), 3);
        assert_eq!(sentences("no end"), 1);
        assert_eq!(sentences("What?! Yes."), 2);
    }
}
