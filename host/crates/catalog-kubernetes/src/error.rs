//! What an answer of the API server means for a change.

use std::time::Duration;

use kube::Error;
use roadstead_catalog::CatalogError;

/// How long one request may take.
pub(crate) const REQUEST: Duration = Duration::from_secs(10);

/// Why a request came to nothing, as far as a change can act on it.
#[derive(Debug)]
pub(crate) enum Failure {
    /// Another was first: what was read is old.
    Conflict,
    /// An object of this name is there.
    Exists,
    Gone,
    Other(CatalogError),
}

impl From<CatalogError> for Failure {
    fn from(error: CatalogError) -> Self {
        Self::Other(error)
    }
}

impl Failure {
    /// As an answer for who asked for the change; a conflict that is left is contention.
    pub(crate) fn into_error(self, contended: impl FnOnce() -> CatalogError) -> CatalogError {
        match self {
            Self::Other(error) => error,
            Self::Conflict | Self::Exists | Self::Gone => contended(),
        }
    }
}

/// Runs one request, bounded in time.
pub(crate) async fn request<T>(
    doing: &'static str,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<T, Failure> {
    match tokio::time::timeout(REQUEST, work).await {
        Ok(answer) => answer.map_err(|error| classify(doing, error)),
        Err(late) => {
            Err(Failure::Other(CatalogError::Unavailable { doing, source: Box::new(late) }))
        }
    }
}

/// Sorts an error by what can be done about it.
pub(crate) fn classify(doing: &'static str, error: Error) -> Failure {
    let Error::Api(status) = error else {
        return Failure::Other(not_an_answer(doing, error));
    };
    let message = status.message.clone();
    match (status.code, status.reason.as_str()) {
        (409, "AlreadyExists") => Failure::Exists,
        (409, _) => Failure::Conflict,
        (404, _) if names_an_object(&status) => Failure::Gone,
        // Without the definitions, the path itself is unknown.
        (404, _) => Failure::Other(CatalogError::Refused {
            doing,
            message: "it does not know Roadstead's objects: apply k8s/crds".to_owned(),
        }),
        (401 | 403, _) => Failure::Other(CatalogError::Forbidden { doing, message }),
        (413, _) | (_, "RequestEntityTooLarge") => Failure::Other(CatalogError::TooLarge(message)),
        // etcd refuses what is over its own bound in words alone.
        (500.., _) if message.contains("request is too large") => {
            Failure::Other(CatalogError::TooLarge(message))
        }
        (400 | 405 | 415 | 422, _) => Failure::Other(CatalogError::Refused { doing, message }),
        _ => Failure::Other(CatalogError::Unavailable { doing, source: status }),
    }
}

fn names_an_object(status: &kube::core::Status) -> bool {
    status.details.as_ref().is_some_and(|details| !details.name.is_empty())
}

/// The server did not answer, or not in its language.
fn not_an_answer(doing: &'static str, error: Error) -> CatalogError {
    match error {
        Error::SerdeError(_) | Error::BuildRequest(_) | Error::HttpError(_) => {
            CatalogError::Storage { doing, source: Box::new(error) }
        }
        error => CatalogError::Unavailable { doing, source: Box::new(error) },
    }
}

#[cfg(test)]
mod tests {
    use kube::core::{Status, response::StatusDetails};

    use super::*;

    fn answer(code: u16, reason: &str, message: &str, name: &str) -> Failure {
        let details: StatusDetails =
            serde_json::from_value(serde_json::json!({"name": name})).unwrap();
        let status = Status::failure(message, reason).with_code(code).with_details(details);
        classify("write", Error::Api(status.boxed()))
    }

    #[test]
    fn each_answer_has_a_meaning() {
        use CatalogError as E;
        assert!(matches!(answer(409, "AlreadyExists", "", "m"), Failure::Exists));
        assert!(matches!(answer(409, "Conflict", "", "m"), Failure::Conflict));
        assert!(matches!(answer(404, "NotFound", "", "m"), Failure::Gone));
        let other = |code, reason, message, name| match answer(code, reason, message, name) {
            Failure::Other(error) => error,
            failure => panic!("{failure:?}"),
        };
        assert!(matches!(other(404, "NotFound", "page", ""), E::Refused { .. }));
        assert!(matches!(other(403, "Forbidden", "no", ""), E::Forbidden { .. }));
        assert!(matches!(other(401, "Unauthorized", "who", ""), E::Forbidden { .. }));
        assert!(matches!(other(422, "Invalid", "spec", "m"), E::Refused { .. }));
        assert!(matches!(other(413, "RequestEntityTooLarge", "", ""), E::TooLarge(_)));
        let etcd = "etcdserver: request is too large";
        assert!(matches!(other(500, "", etcd, ""), E::TooLarge(_)));
        for code in [429, 500, 503, 504] {
            assert!(matches!(other(code, "", "", ""), E::Unavailable { .. }), "{code}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_without_an_answer_ends() {
        let never = std::future::pending::<Result<(), Error>>();
        let failure = request("read", never).await.unwrap_err();
        assert!(matches!(failure, Failure::Other(CatalogError::Unavailable { .. })));
    }
}
