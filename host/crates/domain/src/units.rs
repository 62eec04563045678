//! Sizes, rates, spans of time and shares of processors as people write them: `256Mi`, `64Ki/s`,
//! `2s`, `500ms`, `500m`.

use std::{fmt, str::FromStr, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Why a quantity was refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnitError {
    #[error("`{0}` is not a size in bytes like 1048576, 64Ki, 256Mi or 2Gi")]
    Size(String),
    #[error("`{0}` is not a rate like 64Ki/s")]
    Rate(String),
    #[error("`{0}` is not a span of time like 500ms, 2s, 5m or 1h")]
    Span(String),
    #[error("`{0}` is not a number of processors like 500m, 2 or 1.5, and at least 1m")]
    Cpu(String),
}

/// A number of bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

/// Bytes per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteRate(pub u64);

/// A span of time, at least one millisecond.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Span(Duration);

/// Processor time in thousandths of one processor, as Kubernetes writes it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Millicores(pub u64);

const SIZES: [(&str, u64); 8] = [
    ("Ki", 1 << 10),
    ("Mi", 1 << 20),
    ("Gi", 1 << 30),
    ("Ti", 1 << 40),
    ("k", 1_000),
    ("M", 1_000_000),
    ("G", 1_000_000_000),
    ("T", 1_000_000_000_000),
];

const SPANS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// Splits `12Mi` into 12 and the factor of `Mi`, and multiplies; digits may hold `_`.
fn scaled(text: &str, units: &[(&str, u64)], bare: Option<u64>) -> Option<u64> {
    let (digits, factor) = units
        .iter()
        .find_map(|(unit, factor)| Some((text.strip_suffix(unit)?, *factor)))
        .or(bare.map(|factor| (text, factor)))?;
    if !digits.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    digits.replace('_', "").parse::<u64>().ok()?.checked_mul(factor)
}

/// Prints with the largest unit that divides evenly.
fn unscaled(value: u64, units: &[(&str, u64)]) -> String {
    units
        .iter()
        .filter(|(_, factor)| value != 0 && value.is_multiple_of(*factor))
        .max_by_key(|(_, factor)| *factor)
        .map_or_else(|| value.to_string(), |(unit, factor)| format!("{}{unit}", value / factor))
}

/// The most that one message may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum MessageSize {
    /// 32 MiB where the compiled codec serves the method, 2 MiB where the host turns messages into
    /// values.
    #[default]
    Auto,
    /// The same for all methods.
    Explicit(ByteSize),
}

const AUTO: &str = "auto";

impl ByteSize {
    pub const fn kib(n: u64) -> Self {
        Self(n << 10)
    }

    pub const fn mib(n: u64) -> Self {
        Self(n << 20)
    }

    /// Saturates at the machine's word.
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

impl Span {
    pub const fn secs(n: u64) -> Self {
        Self(Duration::from_secs(n))
    }

    pub fn duration(self) -> Duration {
        self.0
    }
}

impl FromStr for ByteSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        scaled(text, &SIZES, Some(1)).map(Self).ok_or_else(|| UnitError::Size(text.to_owned()))
    }
}

impl MessageSize {
    /// Messages that the host turns into values take up to 64 times their size there.
    const DYNAMIC: ByteSize = ByteSize::mib(2);
    const COMPILED: ByteSize = ByteSize::mib(32);

    /// The bound for a method that the compiled codec serves, or does not.
    pub fn of(self, compiled: bool) -> ByteSize {
        match self {
            Self::Explicit(size) => size,
            Self::Auto if compiled => Self::COMPILED,
            Self::Auto => Self::DYNAMIC,
        }
    }

    /// The bound that no message of any method is over.
    pub fn most(self) -> ByteSize {
        self.of(true)
    }
}

impl FromStr for MessageSize {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        if text == AUTO { Ok(Self::Auto) } else { text.parse().map(Self::Explicit) }
    }
}

impl FromStr for ByteRate {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        text.strip_suffix("/s")
            .and_then(|size| scaled(size, &SIZES, Some(1)))
            .map(Self)
            .ok_or_else(|| UnitError::Rate(text.to_owned()))
    }
}

impl FromStr for Span {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        scaled(text, &SPANS, None)
            .filter(|ms| *ms > 0)
            .map(|ms| Self(Duration::from_millis(ms)))
            .ok_or_else(|| UnitError::Span(text.to_owned()))
    }
}

impl FromStr for Millicores {
    type Err = UnitError;

    fn from_str(text: &str) -> Result<Self, UnitError> {
        millicores(text)
            .filter(|cpu| *cpu > 0)
            .map(Self)
            .ok_or_else(|| UnitError::Cpu(text.to_owned()))
    }
}

/// `500m`, or processors with up to three places after the point.
fn millicores(text: &str) -> Option<u64> {
    let digits = |text: &str| {
        let all = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        if all { text.parse::<u64>().ok() } else { None }
    };
    if let Some(thousandths) = text.strip_suffix('m') {
        return digits(thousandths);
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let places = u32::try_from(fraction.len()).ok().filter(|places| *places <= 3)?;
    let fraction = digits(fraction)? * 10_u64.pow(3 - places);
    digits(whole)?.checked_mul(1000)?.checked_add(fraction)
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&unscaled(self.0, &SIZES[..4]))
    }
}

impl fmt::Display for MessageSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => f.write_str(AUTO),
            Self::Explicit(size) => size.fmt(f),
        }
    }
}

impl fmt::Display for ByteRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/s", ByteSize(self.0))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&unscaled(u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX), &SPANS))
    }
}

impl fmt::Display for Millicores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_multiple_of(1000) {
            write!(f, "{}", self.0 / 1000)
        } else {
            write!(f, "{}m", self.0)
        }
    }
}

/// A quantity as TOML, YAML or JSON hold it: a bare number, or text. One with a point is text.
pub(crate) enum Written {
    Number(u64),
    Text(String),
}

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl de::Visitor<'_> for Visitor {
            type Value = Written;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a number that is not negative, or text")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Written, E> {
                Ok(Written::Number(number))
            }

            fn visit_i64<E: de::Error>(self, number: i64) -> Result<Written, E> {
                u64::try_from(number)
                    .map(Written::Number)
                    .map_err(|_| E::invalid_value(de::Unexpected::Signed(number), &self))
            }

            fn visit_f64<E: de::Error>(self, number: f64) -> Result<Written, E> {
                Ok(Written::Text(number.to_string()))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Written, E> {
                Ok(Written::Text(text.to_owned()))
            }
        }

        from.deserialize_any(Visitor)
    }
}

macro_rules! written_as_text {
    ($($type:ty),*) => {$(
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
                match Written::deserialize(from)? {
                    Written::Number(number) => number.to_string().parse(),
                    Written::Text(text) => text.parse(),
                }
                .map_err(de::Error::custom)
            }
        }

        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
                to.collect_str(self)
            }
        }
    )*};
}

written_as_text!(ByteSize, ByteRate, Span, Millicores, MessageSize);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_parse_and_print() {
        for (text, bytes) in
            [("0", 0), ("1_000", 1000), ("64Ki", 65536), ("2Gi", 2 << 30), ("5M", 5_000_000)]
        {
            assert_eq!(text.parse::<ByteSize>().unwrap().0, bytes, "{text}");
        }
        assert_eq!(ByteSize::mib(256).to_string(), "256Mi");
        for (text, dynamic, compiled) in [("auto", 2 << 20, 32 << 20), ("5Mi", 5 << 20, 5 << 20)] {
            let size: MessageSize = text.parse().unwrap();
            assert_eq!(size.to_string(), text);
            assert_eq!((size.of(false).0, size.of(true).0), (dynamic, compiled));
        }
        assert_eq!(ByteSize(1500).to_string(), "1500");
        for bad in ["", "-1", "1.5Gi", "Mi", "1 Mi", "99999999999Ti", "NaN", "1MB"] {
            assert!(bad.parse::<ByteSize>().is_err(), "{bad}");
        }
    }

    #[test]
    fn rates_and_spans_parse_and_print() {
        assert_eq!("64Ki/s".parse::<ByteRate>().unwrap().to_string(), "64Ki/s");
        assert!("64Ki".parse::<ByteRate>().is_err());
        for (text, ms) in [("500ms", 500), ("2s", 2000), ("5m", 300_000), ("1h", 3_600_000)] {
            let span: Span = text.parse().unwrap();
            assert_eq!((span.duration().as_millis(), span.to_string().as_str()), (ms, text));
        }
        for bad in ["0s", "5", "-1s", "1d", "s"] {
            assert!(bad.parse::<Span>().is_err(), "{bad}");
        }
    }
    #[test]
    fn processors_parse_and_print() {
        for (text, cpu, printed) in [
            ("500m", 500, "500m"),
            ("2", 2000, "2"),
            ("1.5", 1500, "1500m"),
            ("0.25", 250, "250m"),
            ("0.001", 1, "1m"),
            ("3000m", 3000, "3"),
        ] {
            let parsed: Millicores = text.parse().unwrap();
            assert_eq!((parsed.0, parsed.to_string().as_str()), (cpu, printed), "{text}");
            assert_eq!(printed.parse(), Ok(parsed));
        }
        for bad in ["", "0", "0m", "m", ".5", "1.", "1.0005", "-1", "1.5m", "1e3", "NaN", "1 m"] {
            assert!(bad.parse::<Millicores>().is_err(), "{bad}");
        }
    }
}
