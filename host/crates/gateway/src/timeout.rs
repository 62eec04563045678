//! The caller's deadline, as `grpc-timeout` and `connect-timeout-ms` write it.

use std::time::Duration;

use http::HeaderMap;
use roadstead_domain::Fault;
use tokio::time::Instant;

/// When a request came in and how long its caller waits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Patience {
    /// The clock is read only for those who set one.
    timeout: Option<(Instant, Duration)>,
}

impl Patience {
    /// Starts the clock of a gRPC request.
    ///
    /// # Errors
    /// [`Fault::BadInput`] names the header if it does not parse.
    pub(crate) fn of_grpc(headers: &HeaderMap) -> Result<Self, Fault> {
        Self::of(headers, "grpc-timeout", grpc)
    }

    /// Starts the clock of a Connect request.
    ///
    /// # Errors
    /// [`Fault::BadInput`] names the header if it does not parse.
    pub(crate) fn of_connect(headers: &HeaderMap) -> Result<Self, Fault> {
        Self::of(headers, "connect-timeout-ms", connect)
    }

    fn of(
        headers: &HeaderMap,
        name: &'static str,
        parse: fn(&str) -> Option<Duration>,
    ) -> Result<Self, Fault> {
        let timeout = match headers.get(name) {
            None => None,
            Some(value) => {
                let timeout = value.to_str().ok().and_then(parse);
                let refused = || Fault::bad_input(name, "is not a timeout");
                Some((Instant::now(), timeout.ok_or_else(refused)?))
            }
        };
        Ok(Self { timeout })
    }

    /// What is left of the caller's timeout.
    ///
    /// # Errors
    /// [`Fault::Deadline`] if nothing is.
    pub(crate) fn left(&self) -> Result<Option<Duration>, Fault> {
        let Some((since, timeout)) = self.timeout else { return Ok(None) };
        match timeout.checked_sub(since.elapsed()) {
            Some(left) if !left.is_zero() => Ok(Some(left)),
            _ => Err(Fault::Deadline(timeout)),
        }
    }

    /// The fault of a caller that waited in vain; `most` is the host's own patience.
    pub(crate) fn passed(&self, most: Duration) -> Fault {
        Fault::Deadline(self.timeout.map_or(most, |(_, timeout)| timeout.min(most)))
    }
}

/// One to eight digits and a unit.
fn grpc(text: &str) -> Option<Duration> {
    let (unit_at, unit) = text.char_indices().next_back()?;
    let number = digits(text.get(..unit_at)?, 8)?;
    Some(match unit {
        'H' => Duration::from_secs(number * 3600),
        'M' => Duration::from_secs(number * 60),
        'S' => Duration::from_secs(number),
        'm' => Duration::from_millis(number),
        'u' => Duration::from_micros(number),
        'n' => Duration::from_nanos(number),
        _ => return None,
    })
}

/// One to ten digits of milliseconds.
fn connect(text: &str) -> Option<Duration> {
    digits(text, 10).map(Duration::from_millis)
}

fn digits(text: &str, most: usize) -> Option<u64> {
    let good = (1..=most).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if good { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn grpc_timeouts() {
        for (text, expected) in [
            ("1H", Duration::from_secs(3600)),
            ("2M", Duration::from_secs(120)),
            ("3S", Duration::from_secs(3)),
            ("40m", Duration::from_millis(40)),
            ("5u", Duration::from_micros(5)),
            ("99999999n", Duration::from_nanos(99_999_999)),
            ("99999999H", Duration::from_secs(99_999_999 * 3600)),
            ("0S", Duration::ZERO),
        ] {
            assert_eq!(grpc(text), Some(expected), "{text}");
        }
        for bad in ["", "S", "1", "123456789S", "-1S", "+1S", "1 S", "1.5S", "1s", "1S ", "١S", "ä"]
        {
            assert_eq!(grpc(bad), None, "{bad}");
        }
    }

    #[test]
    fn connect_timeouts() {
        assert_eq!(connect("1500"), Some(Duration::from_millis(1500)));
        assert_eq!(connect("9999999999"), Some(Duration::from_millis(9_999_999_999)));
        for bad in ["", "12345678901", "-1", "1s", "0x1", " 1"] {
            assert_eq!(connect(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_bad_header_is_named_and_a_spent_timeout_is_a_deadline() {
        let mut headers = HeaderMap::new();
        assert_eq!(Patience::of_grpc(&headers).unwrap().left(), Ok(None));
        headers.insert("grpc-timeout", "soon".parse().unwrap());
        let fault = Patience::of_grpc(&headers).unwrap_err();
        assert!(matches!(&fault, Fault::BadInput(v) if v[0].field == "grpc-timeout"));
        headers.insert("grpc-timeout", "0S".parse().unwrap());
        let spent = Patience::of_grpc(&headers).unwrap().left();
        assert_eq!(spent, Err(Fault::Deadline(Duration::ZERO)));
    }

    proptest! {
        #[test]
        fn no_text_panics(text in ".*") {
            grpc(&text);
            connect(&text);
        }
    }
}
