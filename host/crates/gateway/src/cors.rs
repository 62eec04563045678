//! CORS: which web pages may call, by flag.

use http::{
    HeaderMap, HeaderValue, Method, Response, StatusCode,
    header::{
        ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
        ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD,
        ORIGIN, VARY,
    },
};

use crate::{AllowedOrigins, body::ResponseBody};

const REQUEST_HEADERS: HeaderValue = HeaderValue::from_static(
    "authorization, content-type, content-encoding, accept-encoding, connect-protocol-version, \
     connect-timeout-ms, roadstead-module, roadstead-namespace",
);
const RESPONSE_HEADERS: HeaderValue = HeaderValue::from_static(
    "content-encoding, trailer-roadstead-module, trailer-roadstead-call, \
     trailer-roadstead-fuel-consumed, trailer-roadstead-peak-memory-bytes, \
     trailer-roadstead-instance",
);
/// Seconds that a browser may keep the answer to a preflight.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");

/// What is said to the page behind a request; nothing where there is none or it is not allowed.
#[derive(Debug)]
pub(crate) struct Grant {
    /// The answer differs by origin.
    varies: bool,
    origin: Option<HeaderValue>,
}

impl Grant {
    pub(crate) fn of(allowed: &AllowedOrigins, headers: &HeaderMap) -> Self {
        let origin = headers.get(ORIGIN);
        let granted =
            origin.filter(|origin| origin.to_str().is_ok_and(|origin| allowed.allow(origin)));
        let origin = match allowed {
            AllowedOrigins::Any => granted.map(|_| HeaderValue::from_static("*")),
            _ => granted.cloned(),
        };
        Self { varies: matches!(allowed, AllowedOrigins::These(_)), origin }
    }

    /// Answers a browser's question before the call, if that is what the request is.
    pub(crate) fn preflight(
        &self,
        method: &Method,
        headers: &HeaderMap,
    ) -> Option<Response<ResponseBody>> {
        let asked = method == Method::OPTIONS
            && headers.contains_key(ORIGIN)
            && headers.contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        asked.then(|| {
            let mut response = Response::new(ResponseBody::empty());
            if self.origin.is_none() {
                *response.status_mut() = StatusCode::FORBIDDEN;
                return response;
            }
            *response.status_mut() = StatusCode::NO_CONTENT;
            let headers = response.headers_mut();
            headers.insert(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("POST"));
            headers.insert(ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_HEADERS);
            headers.insert(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
            response
        })
    }

    /// Marks a response so that the page may read it.
    pub(crate) fn mark(self, headers: &mut HeaderMap) {
        if self.varies {
            headers.append(VARY, HeaderValue::from_static("origin"));
        }
        if let Some(origin) = self.origin {
            headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            headers.insert(ACCESS_CONTROL_EXPOSE_HEADERS, RESPONSE_HEADERS);
        }
    }
}
