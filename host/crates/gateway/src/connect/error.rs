//! A gRPC status as Connect's JSON error.

use std::sync::LazyLock;

use base64::{Engine as _, engine::general_purpose::STANDARD_NO_PAD};
use http::{
    HeaderMap, HeaderValue, Response, StatusCode,
    header::{CONTENT_TYPE, WWW_AUTHENTICATE},
};
use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage};
use serde::Serialize;
use tonic::{Code, Status};

use crate::body::ResponseBody;

#[derive(Serialize)]
struct ErrorBody<'a> {
    code: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    message: &'a str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    details: Vec<Detail>,
}

#[derive(Serialize)]
struct Detail {
    #[serde(rename = "type")]
    kind: String,
    value: String,
    /// The same for people.
    #[serde(skip_serializing_if = "Option::is_none")]
    debug: Option<serde_json::Value>,
}

/// The messages of `google.rpc`.
static DETAILS: LazyLock<DescriptorPool> = LazyLock::new(|| {
    let mut pool = DescriptorPool::global();
    if let Err(error) = pool.decode_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET) {
        tracing::error!(%error, "read the descriptors of google.rpc");
    }
    pool
});

/// The response of a failed call; `headers` are sent along.
pub(crate) fn failure(status: &Status, headers: HeaderMap) -> Response<ResponseBody> {
    let (http, code) = names(status.code());
    let details = tonic_types::pb::Status::decode(status.details())
        .map(|status| status.details.into_iter().map(detail).collect())
        .unwrap_or_default();
    let body = ErrorBody { code, message: status.message(), details };
    let text = serde_json::to_vec(&body).unwrap_or_default();
    let mut response = Response::new(ResponseBody::flat(text));
    *response.status_mut() = http;
    *response.headers_mut() = headers;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    if http == StatusCode::UNAUTHORIZED {
        let how = HeaderValue::from_static("Bearer realm=\"roadstead\"");
        response.headers_mut().insert(WWW_AUTHENTICATE, how);
    }
    response
}

fn detail(any: prost_types::Any) -> Detail {
    let kind = any.type_url.rsplit('/').next().unwrap_or_default().to_owned();
    let debug = DETAILS
        .get_message_by_name(&kind)
        .and_then(|kind| DynamicMessage::decode(kind, &*any.value).ok())
        .and_then(|message| serde_json::to_value(message).ok());
    Detail { kind, value: STANDARD_NO_PAD.encode(&any.value), debug }
}

/// HTTP status and name of a code, as Connect has them.
fn names(code: Code) -> (StatusCode, &'static str) {
    /// Not registered: the client closed the request.
    const CLIENT_CLOSED: u16 = 499;
    match code {
        Code::Cancelled => {
            (StatusCode::from_u16(CLIENT_CLOSED).unwrap_or(StatusCode::REQUEST_TIMEOUT), "canceled")
        }
        Code::Ok | Code::Unknown => (StatusCode::INTERNAL_SERVER_ERROR, "unknown"),
        Code::InvalidArgument => (StatusCode::BAD_REQUEST, "invalid_argument"),
        Code::DeadlineExceeded => (StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded"),
        Code::NotFound => (StatusCode::NOT_FOUND, "not_found"),
        Code::AlreadyExists => (StatusCode::CONFLICT, "already_exists"),
        Code::PermissionDenied => (StatusCode::FORBIDDEN, "permission_denied"),
        Code::ResourceExhausted => (StatusCode::TOO_MANY_REQUESTS, "resource_exhausted"),
        Code::FailedPrecondition => (StatusCode::BAD_REQUEST, "failed_precondition"),
        Code::Aborted => (StatusCode::CONFLICT, "aborted"),
        Code::OutOfRange => (StatusCode::BAD_REQUEST, "out_of_range"),
        Code::Unimplemented => (StatusCode::NOT_IMPLEMENTED, "unimplemented"),
        Code::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        Code::Unavailable => (StatusCode::SERVICE_UNAVAILABLE, "unavailable"),
        Code::DataLoss => (StatusCode::INTERNAL_SERVER_ERROR, "data_loss"),
        Code::Unauthenticated => (StatusCode::UNAUTHORIZED, "unauthenticated"),
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use roadstead_domain::Fault;

    use super::*;
    use crate::status::from_fault;

    #[tokio::test]
    async fn details_are_there_for_machines_and_people() {
        let status = from_fault(&Fault::bad_input("a.b", "must be set"), true);
        let response = failure(&status, HeaderMap::new());
        assert_eq!(response.status(), StatusCode::BAD_REQUEST);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(body["code"], "invalid_argument");
        let details = body["details"].as_array().unwrap();
        let info = details.iter().find(|d| d["type"] == "google.rpc.ErrorInfo").unwrap();
        assert_eq!(info["debug"]["reason"], "BAD_INPUT");
        let value = STANDARD_NO_PAD.decode(info["value"].as_str().unwrap()).unwrap();
        let info = tonic_types::pb::ErrorInfo::decode(&*value).unwrap();
        assert_eq!(info.reason, "BAD_INPUT");
        let bad = details.iter().find(|d| d["type"] == "google.rpc.BadRequest").unwrap();
        assert_eq!(bad["debug"]["fieldViolations"][0]["field"], "a.b");
    }
}
