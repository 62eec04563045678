//! The status at the end of an answer.

use base64::{Engine as _, engine::general_purpose};
use http::HeaderMap;
use prost::Message as _;

use crate::messages::RpcStatus;

/// Bytes of a server's text, and of its details, that are read. Secrets are taken out of the text
/// before it is cut to what is passed on.
const TEXT: usize = 16 << 10;
const DETAILS: usize = 8 << 10;

/// The codes that a proxy tells apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Code {
    Ok,
    Cancelled,
    InvalidArgument,
    DeadlineExceeded,
    ResourceExhausted,
    Unimplemented,
    Unavailable,
    Other(u16),
}

/// How a server says that a call ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Status {
    pub(crate) code: Code,
    pub(crate) text: String,
    pub(crate) details: RpcStatus,
}

impl Status {
    /// None where there is none, or none that reads.
    pub(crate) fn of(trailers: &HeaderMap) -> Option<Self> {
        let number: u16 = trailers.get("grpc-status")?.to_str().ok()?.parse().ok()?;
        let code = match number {
            0 => Code::Ok,
            1 => Code::Cancelled,
            3 => Code::InvalidArgument,
            4 => Code::DeadlineExceeded,
            8 => Code::ResourceExhausted,
            12 => Code::Unimplemented,
            14 => Code::Unavailable,
            other => Code::Other(other),
        };
        let text = trailers.get("grpc-message").map_or(&b""[..], http::HeaderValue::as_bytes);
        let details = trailers.get("grpc-status-details-bin").map(http::HeaderValue::as_bytes);
        let details = details.filter(|details| details.len() <= DETAILS).and_then(|details| {
            let engine = general_purpose::STANDARD_NO_PAD;
            let bytes = engine
                .decode(details.trim_ascii_end())
                .or_else(|_| general_purpose::STANDARD.decode(details.trim_ascii_end()));
            RpcStatus::decode(bytes.ok()?.as_slice()).ok()
        });
        Some(Self { code, text: plain(text), details: details.unwrap_or_default() })
    }
}

/// A text that came percent-encoded, of bounded length and without control characters.
fn plain(encoded: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(encoded.len().min(TEXT));
    let mut rest = encoded.iter().copied();
    while let Some(byte) = rest.next()
        && bytes.len() < TEXT
    {
        let decoded = (byte == b'%').then(|| {
            let mut ahead = rest.clone();
            let high = char::from(ahead.next()?).to_digit(16)?;
            let low = char::from(ahead.next()?).to_digit(16)?;
            rest = ahead;
            u8::try_from(high * 16 + low).ok()
        });
        bytes.push(decoded.flatten().unwrap_or(byte));
    }
    let text = String::from_utf8_lossy(&bytes);
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn texts_are_decoded_and_bounded() {
        assert_eq!(plain(b"a%20b%zz%"), "a b%zz%");
        assert_eq!(plain("%C3%A9%0A".as_bytes()), "é ");
        assert_eq!(plain(&[b'x'; 50_000]).len(), TEXT);
    }

    #[test]
    fn a_status_is_read_from_trailers() {
        let mut trailers = HeaderMap::new();
        assert_eq!(Status::of(&trailers), None);
        trailers.insert("grpc-status", HeaderValue::from_static("14"));
        trailers.insert("grpc-message", HeaderValue::from_static("gone"));
        trailers.insert("grpc-status-details-bin", HeaderValue::from_static("!!"));
        let status = Status::of(&trailers).unwrap();
        assert_eq!((status.code, status.text.as_str()), (Code::Unavailable, "gone"));
        assert_eq!(status.details, RpcStatus::default());
        trailers.insert("grpc-status", HeaderValue::from_static("x"));
        assert_eq!(Status::of(&trailers), None);
    }
}
