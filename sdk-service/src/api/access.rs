//! Who may ask: whoever knows the token (VL2 §6.1).

use hyper::http::request::Parts;

/// Paths that anybody on this machine may read.
const OPEN: [&str; 1] = ["/health"];

/// Whether this request may be answered.
///
/// Header, parameter and bearer are looked at in this order and the first that is present decides,
/// as in stock.
pub(super) fn allowed(request: &Parts, token: &str) -> bool {
    if OPEN.contains(&request.uri.path()) {
        return true;
    }
    let header = |name| {
        request
            .headers
            .get(name)
            .map(|value: &hyper::header::HeaderValue| value.as_bytes())
    };
    let parameter = request
        .uri
        .query()
        .and_then(|query| {
            query
                .split('&')
                .find_map(|parameter| parameter.strip_prefix("auth="))
        })
        .map(str::as_bytes);
    let bearer = header("authorization").and_then(|value| value.strip_prefix(b"Bearer "));
    header("x-zt1-auth")
        .or(parameter)
        .or(bearer)
        .is_some_and(|given| same(given, token.as_bytes()))
}

/// Equality in time that depends on the lengths only.
fn same(given: &[u8], token: &[u8]) -> bool {
    given.len() == token.len()
        && given
            .iter()
            .zip(token)
            .fold(0, |difference, (a, b)| difference | (a ^ b))
            == 0
}

#[cfg(test)]
mod tests {
    use hyper::Request;

    use super::*;

    fn asked(uri: &str, headers: &[(&str, &str)]) -> bool {
        let request = headers
            .iter()
            .fold(Request::get(uri), |request, (name, value)| {
                request.header(*name, *value)
            });
        allowed(&request.body(()).unwrap().into_parts().0, "secret")
    }

    #[test]
    fn the_token_is_taken_in_three_ways_and_the_first_present_decides() {
        assert!(!asked("/status", &[]));
        assert!(asked("/status", &[("X-ZT1-Auth", "secret")]));
        assert!(asked("/status?x=1&auth=secret", &[]));
        assert!(asked("/status", &[("Authorization", "Bearer secret")]));
        assert!(!asked("/status?auth=secret", &[("X-ZT1-Auth", "wrong")]));
        assert!(!asked(
            "/status?auth=wrong",
            &[("Authorization", "Bearer secret")]
        ));
        assert!(!asked("/status", &[("X-ZT1-Auth", "secre")]));
        assert!(!asked("/status?auth=", &[]));
    }

    #[test]
    fn health_is_open() {
        assert!(asked("/health", &[]));
        assert!(!asked("/healthy", &[]));
    }
}
