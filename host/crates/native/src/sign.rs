//! What a server is told of a call, signed with the key of its attempt.

use std::time::{SystemTime, UNIX_EPOCH};

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{HeaderMap, HeaderValue, header::InvalidHeaderValue};
use prost::Message as _;
use roadstead_engine::RemoteCall;
use roadstead_proto::v1::NativeCall;
use sha2::Sha256;

const CALL: &str = "roadstead-call-bin";
const SIGNATURE: &str = "roadstead-signature-bin";

/// The key by which one attempt knows its host. Shown by nothing.
#[derive(Clone)]
pub(crate) struct CallKey([u8; 32]);

impl std::fmt::Debug for CallKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("CallKey")
    }
}

impl CallKey {
    pub(crate) fn new() -> Self {
        Self(rand::random())
    }

    /// The key that a server was given elsewhere.
    pub(crate) fn of(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.0
    }

    /// The metadata of a call of a method.
    pub(crate) fn sign(
        &self,
        call: &RemoteCall,
        method: &str,
    ) -> Result<HeaderMap, InvalidHeaderValue> {
        let issued = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let said = NativeCall {
            subject: call.owner.as_deref().unwrap_or_default().to_owned(),
            namespace: call.module.namespace.to_string(),
            module: format!("{}@{}", call.module.name, call.module.version),
            method: method.to_owned(),
            path: call.path.modules().iter().map(|module| module.to_string()).collect(),
            call: call.id.to_string(),
            traceparent: call.traceparent.as_deref().unwrap_or_default().to_owned(),
            issued_unix_ms: i64::try_from(issued.as_millis()).unwrap_or(i64::MAX),
        }
        .encode_to_vec();
        let mut block = [0; 64];
        for (to, from) in block.iter_mut().zip(self.0) {
            *to = from;
        }
        let mut mac = Hmac::<Sha256>::new(&block.into());
        mac.update(&said);
        let signature = mac.finalize().into_bytes();
        let mut headers = HeaderMap::new();
        headers.insert(CALL, HeaderValue::try_from(STANDARD_NO_PAD.encode(said))?);
        headers.insert(SIGNATURE, HeaderValue::try_from(STANDARD_NO_PAD.encode(signature))?);
        Ok(headers)
    }
}
