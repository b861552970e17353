//! The header fields that a proxy must change (RFC 9110 §7.6).

use http::{
    HeaderMap, HeaderName, HeaderValue, Version,
    header::{
        AUTHORIZATION, CONNECTION, CONTENT_LENGTH, COOKIE, EXPECT, HOST, PROXY_AUTHORIZATION, TE, TRAILER,
        TRANSFER_ENCODING, UPGRADE, VIA,
    },
};

/// Fields that are for one connection only, even if `Connection` does not name them.
static HOP_BY_HOP: [HeaderName; 5] =
    [HeaderName::from_static("keep-alive"), HeaderName::from_static("proxy-connection"), TE, UPGRADE, CONNECTION];

/// Changes the headers of a user's request for the upstream.
pub fn prepare_request(headers: &mut HeaderMap, version: Version) {
    let takes_trailers = members(headers, &TE).any(|member| member.eq_ignore_ascii_case("trailers"));
    remove_hop_by_hop(headers);
    // `Host` comes from the URL. The user's credentials are not for the upstream. `Expect` is answered here, when the body
    // is read.
    for name in [HOST, AUTHORIZATION, PROXY_AUTHORIZATION, EXPECT] {
        headers.remove(name);
    }
    if takes_trailers {
        // `Connection` does not name it, because over HTTP/2 hyper would then remove it, and gRPC needs it.
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
    join_cookies(headers);
    headers.append(VIA, via(version));
}

/// Removes from a request's trailers what is not for the upstream. `identity` is the header that says whose token it needs.
pub fn prepare_trailers(trailers: &mut HeaderMap, identity: Option<&HeaderName>) {
    for name in [&AUTHORIZATION, &PROXY_AUTHORIZATION].into_iter().chain(identity) {
        trailers.remove(name);
    }
}

/// Removes a header, and returns its value unless it was given twice.
pub fn take_only(headers: &mut HeaderMap, name: &HeaderName) -> Option<HeaderValue> {
    let is_only = headers.get_all(name).iter().nth(1).is_none();
    headers.remove(name).filter(|_| is_only)
}

/// Removes the name of this header from the announced trailers.
pub fn remove_announced(headers: &mut HeaderMap, trailer: &HeaderName) {
    let kept: Vec<_> = members(headers, &TRAILER).filter(|name| !name.eq_ignore_ascii_case(trailer.as_str())).collect();
    let kept = HeaderValue::from_str(&kept.join(", ")).ok().filter(|kept| !kept.is_empty());
    headers.remove(TRAILER);
    if let Some(kept) = kept {
        headers.insert(TRAILER, kept);
    }
}

/// Returns whether this header says where a message goes or where it ends, so that it cannot say anything else.
pub fn is_of_http(name: &HeaderName) -> bool {
    HOP_BY_HOP.contains(name) || [HOST, CONTENT_LENGTH, TRANSFER_ENCODING, TRAILER, EXPECT].contains(name)
}

/// Changes the headers of the upstream's response for the user.
pub fn prepare_response(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers);
}

fn remove_hop_by_hop(headers: &mut HeaderMap) {
    let named: Vec<HeaderName> = members(headers, &CONNECTION).filter_map(|name| name.parse().ok()).collect();
    for name in named {
        headers.remove(name);
    }
    for name in &HOP_BY_HOP {
        headers.remove(name);
    }
    // `Transfer-Encoding` overrides `Content-Length` (RFC 9112 §6.3).
    if headers.remove(TRANSFER_ENCODING).is_some() {
        headers.remove(CONTENT_LENGTH);
    }
}

/// Joins the cookies: HTTP/2 may split them into several lines, HTTP/1.1 allows only one (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_some() {
        let all: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
        if let Ok(mut joined) = HeaderValue::from_bytes(&all.join(&b"; "[..])) {
            joined.set_sensitive(true);
            headers.insert(COOKIE, joined);
        }
    }
}

fn via(version: Version) -> HeaderValue {
    HeaderValue::from_static(match version {
        Version::HTTP_2 => "2 gateway",
        Version::HTTP_10 => "1.0 gateway",
        _ => "1.1 gateway",
    })
}

/// Returns the members of a comma-separated list, without their parameters.
fn members<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(|member| member.split(';').next().unwrap_or_default().trim())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&str, &str)]) -> HeaderMap {
        let parse = |(name, value): &(&str, &str)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap());
        lines.iter().map(parse).collect()
    }

    fn of(lines: &[(&str, &str)]) -> HeaderMap {
        let mut headers = headers(lines);
        prepare_request(&mut headers, Version::HTTP_11);
        headers.remove(VIA);
        headers
    }

    #[test]
    fn hop_by_hop_fields_are_removed() {
        let lines = [
            ("connection", "close, X-Own"),
            ("connection", "keep-alive;x"),
            ("x-own", "1"),
            ("keep-alive", "timeout=5"),
            ("proxy-connection", "keep-alive"),
            ("transfer-encoding", "chunked"),
            ("content-length", "5"),
            ("upgrade", "h2c"),
            ("te", "gzip"),
            ("x-kept", "1"),
        ];
        assert_eq!(of(&lines), headers(&[("x-kept", "1")]));
        let mut response = headers(&lines);
        prepare_response(&mut response);
        assert_eq!(response, headers(&[("x-kept", "1")]));
    }

    #[test]
    fn the_wish_for_trailers_is_forwarded() {
        let kept = of(&[("te", "gzip;q=0.5, Trailers"), ("connection", "TE")]);
        assert_eq!(kept, headers(&[("te", "trailers")]));
    }

    #[test]
    fn credentials_and_the_old_host_are_removed() {
        let lines =
            [("authorization", "Basic eDp5"), ("authorization", "x"), ("proxy-authorization", "y"), ("host", "z")];
        assert!(of(&lines).is_empty());
    }

    #[test]
    fn the_header_of_the_identity_is_no_trailer() {
        let tenant = HeaderName::from_static("x-tenant");
        let mut trailers = headers(&[("x-tenant", "acme"), ("authorization", "Bearer x"), ("x-kept", "1")]);
        prepare_trailers(&mut trailers, Some(&tenant));
        assert_eq!(trailers, headers(&[("x-kept", "1")]));
        for (announced, kept) in [("X-Tenant, x-kept", Some("x-kept")), ("x-tenant", None), ("x-kept", Some("x-kept"))]
        {
            let mut request = headers(&[("trailer", announced)]);
            remove_announced(&mut request, &tenant);
            assert_eq!(request.get(TRAILER).map(|value| value.to_str().unwrap()), kept);
        }
    }

    #[test]
    fn cookies_are_joined_into_one_line() {
        assert_eq!(of(&[("cookie", "a=1"), ("cookie", "b=2")]), headers(&[("cookie", "a=1; b=2")]));
    }

    #[test]
    fn via_is_appended() {
        let mut headers = headers(&[("via", "1.0 other")]);
        prepare_request(&mut headers, Version::HTTP_2);
        let all: Vec<_> = headers.get_all(VIA).iter().collect();
        assert_eq!(all, ["1.0 other", "2 gateway"]);
    }
}
