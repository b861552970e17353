//! Which answers are looked at.

use std::sync::Arc;

use http::{
    HeaderMap, HeaderValue, Method, StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE},
    response::Parts,
};

use crate::error::Error;

/// The content types whose answers are looked at.
#[derive(Clone, Debug)]
pub(super) enum ContentTypes {
    Json,
    Listed(Arc<[Box<str>]>),
}

impl ContentTypes {
    /// # Errors
    /// When one is not `type/subtype`.
    pub(super) fn listed<T: AsRef<str>>(types: impl IntoIterator<Item = T>) -> Result<Self, Error> {
        let parse = |media: T| {
            let media = media.as_ref().trim_ascii();
            let is_one = media.split('/').filter(|part| !part.is_empty()).count() == 2;
            (is_one && !media.contains([';', ',', '*', ' '])).then(|| media.into()).ok_or_else(|| {
                Error::config(
                    "a content type is not one type and subtype: write it without parameters, such as text/plain",
                )
            })
        };
        types.into_iter().map(parse).collect::<Result<_, _>>().map(Self::Listed)
    }

    /// Returns whether the type is meant. Its parameters are ignored (RFC 9110 §8.3.1). A proxy may have joined several types by
    /// commas: each has to be meant.
    fn contains(&self, content_type: &str) -> bool {
        let essences = content_type.split(';').next().unwrap_or_default();
        essences.split(',').all(|essence| self.contains_essence(essence.trim_ascii()))
    }

    fn contains_essence(&self, essence: &str) -> bool {
        match self {
            // gRPC frames its JSON, so it cannot be read as such.
            Self::Json => {
                let essence = essence.to_ascii_lowercase();
                essence == "application/json"
                    || (essence.ends_with("+json") && !essence.starts_with("application/grpc"))
            }
            Self::Listed(types) => types.iter().any(|listed| listed.eq_ignore_ascii_case(essence)),
        }
    }

    /// Returns whether an answer is looked at: a whole, readable one of these types. An answer may state several types, although it
    /// must not (RFC 9110 §5.3, §8.3): each has to be meant.
    pub(super) fn are_in(&self, answer: &Parts) -> bool {
        let is_whole = answer.status.is_success()
            && !matches!(
                answer.status,
                StatusCode::NO_CONTENT | StatusCode::RESET_CONTENT | StatusCode::PARTIAL_CONTENT
            );
        let is_meant = |stated: &HeaderValue| stated.to_str().is_ok_and(|stated| self.contains(stated));
        is_whole
            && answer.headers.contains_key(CONTENT_TYPE)
            && answer.headers.get_all(CONTENT_TYPE).iter().all(is_meant)
            && !is_encoded(&answer.headers)
    }
}

/// Returns whether the answers to this method have a body that can be read.
pub(super) fn is_answered_with_body(method: &Method) -> bool {
    method != Method::HEAD && method != Method::CONNECT
}

fn is_encoded(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().any(|coding| !coding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_known_by_its_type_without_case_and_parameters() {
        for json in [
            "application/json",
            "Application/JSON; charset=utf-8",
            "application/graphql-response+json",
            " application/problem+Json ;q",
            "application/json, application/problem+json",
        ] {
            assert!(ContentTypes::Json.contains(json), "{json}");
        }
        for other in [
            "",
            "text/plain",
            "text/event-stream",
            "application/x-ndjson",
            "application/jsonp",
            "text/plain; a=application/json",
            "application/grpc+json",
            "application/grpc",
            "application/json, text/html",
            "text/html, application/problem+json",
            "application/json,",
        ] {
            assert!(!ContentTypes::Json.contains(other), "{other}");
        }
    }

    #[test]
    fn a_list_is_of_types_without_parameters() {
        let listed = ContentTypes::listed(["text/plain", "Application/X-NDJSON"]).unwrap();
        assert!(listed.contains("TEXT/plain;charset=utf-8") && listed.contains("application/x-ndjson"));
        assert!(!listed.contains("application/json") && !listed.contains("text/plainer"));
        for wrong in ["", "text", "text/", "/plain", "text/plain; charset=utf-8", "text/*", "a/b/c", "a/b, c/d"] {
            assert!(ContentTypes::listed([wrong]).unwrap_err().is_config(), "{wrong}");
        }
    }
}
