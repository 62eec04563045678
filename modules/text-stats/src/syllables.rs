//! Estimates the syllables of an English word.

/// Groups of vowels, less a silent final `e`; at least 1.
pub(crate) fn syllables(word: &str) -> u64 {
    let word = word.to_lowercase();
    let vowel = |c: char| matches!(c, 'a' | 'e' | 'i' | 'o' | 'u' | 'y');
    let mut groups = 0;
    let mut inside = false;
    for c in word.chars() {
        if vowel(c) && !inside {
            groups += 1;
        }
        inside = vowel(c);
    }
    // `le` after a consonant is spoken (table); another final `e` after a consonant is not (make).
    let mut ending = word.chars().rev();
    if let (Some('e'), Some(last), Some(before)) = (ending.next(), ending.next(), ending.next())
        && !vowel(last)
        && (last != 'l' || vowel(before))
    {
        groups -= 1;
    }
    groups.max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn common_words() {
        for (word, expected) in [
            ("a", 1),
            ("the", 1),
            ("make", 1),
            ("whale", 1),
            ("table", 2),
            ("harbour", 2),
            ("Syllable", 3),
            ("readability", 5),
            ("rhythm", 1),
            ("42", 1),
            ("be", 1),
            ("tree", 1),
        ] {
            assert_eq!(syllables(word), expected, "{word}");
        }
    }
}
