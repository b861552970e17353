//! The head of a request, saved for a second attempt.
//!
//! Its parts are saved as text, in one allocation. A clone would take two allocations for the map of headers alone. It would
//! also change a reference count for each value and for the URI, which takes most of its time. `benches/README.md` has the
//! figures.

use http::{
    Extensions, HeaderName, HeaderValue, Method, Request, Uri, Version, header::AUTHORIZATION, request::Parts, uri,
};

/// Everything in a head except the token: each attempt has its own, so only the place of its header is saved.
pub(crate) struct SavedHead {
    method: Method,
    version: Version,
    extensions: Extensions,
    text: Text,
}

impl SavedHead {
    /// Saves a head. `own` is the header that carries the token, if that is not `Authorization`.
    pub(crate) fn save(head: &Parts, own: Option<&HeaderName>) -> Self {
        match own {
            None => Self::save_without(head, |name| *name == AUTHORIZATION, ""),
            Some(own) => Self::save_without(head, |name| name == own, own.as_str()),
        }
    }

    /// Saves a head with `place` instead of the header that carries the token.
    #[inline]
    fn save_without(head: &Parts, carries_token: impl Fn(&HeaderName) -> bool, place: &str) -> Self {
        let mut text = Text::for_headers(head.headers.len());
        text.put(head.uri.scheme_str().unwrap_or_default().as_bytes(), false);
        text.put(head.uri.authority().map_or(&[], |authority| authority.as_str().as_bytes()), false);
        text.put(head.uri.path_and_query().map_or(&[], |path| path.as_str().as_bytes()), false);
        for (name, value) in &head.headers {
            if carries_token(name) {
                text.put(place.as_bytes(), true);
            } else {
                text.put(name.as_str().as_bytes(), false);
                text.put(value.as_bytes(), value.is_sensitive());
            }
        }
        Self { method: head.method.clone(), version: head.version, extensions: head.extensions.clone(), text }
    }

    /// Returns whether the request may be sent again although the server may have carried it out (RFC 9110 §9.2.2).
    pub(crate) fn is_idempotent(&self) -> bool {
        self.method.is_idempotent()
    }

    /// Returns the head with an empty value in the place of the token. Returns `None` if a part of it does not pass the checks
    /// of `http`, because it was made without them.
    pub(crate) fn restore(self) -> Option<Parts> {
        let mut parts = self.text.parts();
        let mut part = || parts.next().map(|(part, _)| part);
        let (scheme, authority, path) = (part()?, part()?, part()?);
        let (mut head, ()) = Request::new(()).into_parts();
        head.uri = target(scheme, authority, path)?;
        while let Some((name, carries_token)) = parts.next() {
            // The value of the token is not saved.
            let (value, sensitive) = if carries_token { (NOTHING, true) } else { parts.next()? };
            let mut value = HeaderValue::from_bytes(value).ok()?;
            value.set_sensitive(sensitive);
            // Saved names are in lower case. `from_bytes` would refuse some, such as names with quotes that came by HTTP/2.
            let name = if name == NOTHING { AUTHORIZATION } else { HeaderName::from_lowercase(name).ok()? };
            head.headers.try_append(name, value).ok()?;
        }
        (head.method, head.version, head.extensions) = (self.method, self.version, self.extensions);
        Some(head)
    }
}

/// Returns the URI of these parts. An empty part is absent. Only a scheme may be empty and present, if both other parts are
/// there: `http` parses `://host/`.
fn target(scheme: &[u8], authority: &[u8], path: &[u8]) -> Option<Uri> {
    let mut parts = uri::Parts::default();
    if !authority.is_empty() && !path.is_empty() {
        parts.scheme = Some(scheme.try_into().ok()?);
    }
    if !authority.is_empty() {
        parts.authority = Some(authority.try_into().ok()?);
    }
    if !path.is_empty() {
        parts.path_and_query = Some(path.try_into().ok()?);
    }
    Uri::from_parts(parts).ok()
}

/// The name that is saved for `Authorization`, and the value of the token.
const NOTHING: &[u8] = &[];

/// Parts one after the other. Each comes after its length and a flag.
struct Text(Vec<u8>);

const PREFIX: usize = size_of::<usize>();

/// The bytes that most headers and URIs need. A longer head costs one more allocation. Adding up the lengths first would cost
/// each request more.
const USUAL_HEADER: usize = 64;
const USUAL_URI: usize = 128;

impl Text {
    fn for_headers(headers: usize) -> Self {
        Self(Vec::with_capacity(USUAL_URI + headers * USUAL_HEADER))
    }

    fn put(&mut self, part: &[u8], flag: bool) {
        let prefix = part.len() << 1 | usize::from(flag);
        self.0.extend_from_slice(&prefix.to_ne_bytes());
        self.0.extend_from_slice(part);
    }

    fn parts(&self) -> impl Iterator<Item = (&[u8], bool)> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let (prefix, after) = rest.split_first_chunk::<PREFIX>()?;
            let prefix = usize::from_ne_bytes(*prefix);
            let (part, after) = after.split_at_checked(prefix >> 1)?;
            rest = after;
            Some((part, prefix & 1 == 1))
        })
    }
}

#[cfg(test)]
mod tests {
    use http::{HeaderMap, header::COOKIE};
    use proptest::prelude::*;

    use super::*;

    fn again(request: Request<()>) -> (Parts, Option<Parts>) {
        let (head, ()) = request.into_parts();
        let again = SavedHead::save(&head, None).restore();
        (head, again)
    }

    #[test]
    fn a_restored_head_is_the_same_but_for_its_authorization() {
        let mut secret = HeaderValue::from_static("session=1");
        secret.set_sensitive(true);
        let request = Request::put("https://api.example.org/fhir?_id=1")
            .version(Version::HTTP_2)
            .header("accept", "a")
            .header(HeaderName::from_lowercase(b"x\"own").unwrap(), HeaderValue::from_bytes(b"\xff\t").unwrap())
            .header("accept", "b")
            .header(AUTHORIZATION, "Basic dTpw")
            .header(COOKIE, secret)
            .extension("kept")
            .body(());
        let (mut head, again) = again(request.unwrap());
        let again = again.unwrap();
        head.headers.insert(AUTHORIZATION, HeaderValue::from_static(""));
        assert_eq!((&again.method, &again.uri, again.version), (&head.method, &head.uri, head.version));
        assert!(again.headers.iter().eq(&head.headers), "in the same order: {:?}", again.headers);
        assert!(again.headers[COOKIE].is_sensitive() && !again.headers["accept"].is_sensitive());
        assert_eq!(again.extensions.get(), Some(&"kept"));
    }

    #[test]
    fn any_form_of_target_is_restored() {
        for target in [
            "/",
            "/a?b",
            "*",
            "example.org:443",
            "http://a",
            "http://a?q",
            "http://u:p@[::1]:1/?q",
            "unix://2f74/",
            "/%ff/é",
            "://a/",
        ] {
            let (head, again) = again(Request::get(target).body(()).unwrap());
            let again = again.unwrap().uri;
            assert_eq!((again.to_string(), again), (head.uri.to_string(), head.uri), "{target}");
        }
    }

    proptest! {
        #[test]
        fn any_head_is_restored(target in "(https?://[a-z.]{1,9}(:[0-9]{1,5})?)?/[a-z0-9?&=%.~]{0,20}", headers: Vec<(u8, Vec<u8>)>) {
            let mut request = Request::new(());
            if let Ok(uri) = target.parse() {
                *request.uri_mut() = uri;
            }
            for (name, value) in headers {
                if let Ok(value) = HeaderValue::from_bytes(&value) {
                    request.headers_mut().append(HeaderName::try_from(format!("x-{}", name % 8)).unwrap(), value);
                }
            }
            let (head, again) = again(request);
            let again = again.unwrap();
            prop_assert_eq!(again.uri, head.uri);
            prop_assert!(again.headers.iter().eq(&head.headers));
            prop_assert_eq!(HeaderMap::len(&again.headers), head.headers.len());
        }
    }
}
