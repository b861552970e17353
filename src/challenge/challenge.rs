//! A challenge, and how the challenges of a field are read.

use std::fmt;

use http::{HeaderMap, HeaderValue, header::WWW_AUTHENTICATE};

use crate::challenge::grammar::{Param, is_token68, members, params, split_param, split_token, text};

/// The `error` codes of RFC 6750 §3.1.
pub(crate) const INVALID_TOKEN: &str = "invalid_token";
pub(crate) const INSUFFICIENT_SCOPE: &str = "insufficient_scope";

/// The `error` code of RFC 9470 §3.
pub(crate) const INSUFFICIENT_USER_AUTHENTICATION: &str = "insufficient_user_authentication";

/// One challenge of a `WWW-Authenticate` field ([RFC 9110 §11.3], [§11.6.1]).
///
/// A challenge is a scheme, followed by nothing, by one token68, or by parameters.
///
/// ```
/// use tower_bearer::Challenge;
///
/// let field = br#"Basic realm="a, b", bearer ERROR=invalid_token, scope="a b""#;
/// let challenges = Challenge::parse(field);
///
/// let bearer = challenges.iter().find(|c| c.is_scheme("Bearer")).unwrap();
/// assert_eq!(bearer.param("error"), Some("invalid_token"));
/// assert_eq!(bearer.to_string(), r#"bearer ERROR="invalid_token", scope="a b""#);
/// ```
///
/// # Malformed fields
///
/// Parsing never fails, and takes time and memory proportional to the length of the field. The field is split at each comma
/// outside of double quotes. A quote that is not closed extends to the end of its field line. Then:
///
/// 1. `name = value` is a parameter of the previous challenge. The parameter is dropped if its value is malformed, if it
///    stands before the first challenge, or if the previous challenge has a token68.
/// 2. `scheme`, `scheme token68` and `scheme name = value` start a challenge. If the value is malformed, only this parameter
///    is dropped.
/// 3. Where a value is malformed, the text up to the comma is read once more, as parameters that are separated by spaces or
///    semicolons. Some servers write them so.
/// 4. Anything else is junk. It may be a challenge that this parser cannot read. It is dropped, together with the
///    parameters after it up to the next start of a challenge, because they may not belong to the previous challenge.
/// 5. If no challenge was found, but parameters with an `error` among them, they are a challenge with an empty scheme. Some
///    servers leave the scheme out.
///
/// ```
/// use tower_bearer::Challenge;
///
/// let challenges = Challenge::parse(br#"Bearer error="invalid_token", <junk>, a=b, Basic realm="x"#);
/// assert_eq!(challenges[0].to_string(), r#"Bearer error="invalid_token""#);
/// assert_eq!(challenges[1].to_string(), "Basic");
///
/// let challenges = Challenge::parse(br#"Bearer scope="a b" error="insufficient_scope""#);
/// assert_eq!(challenges[0].param("error"), Some("insufficient_scope"));
/// ```
///
/// [RFC 9110 §11.3]: https://www.rfc-editor.org/rfc/rfc9110#section-11.3
/// [§11.6.1]: https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    scheme: String,
    details: Details,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Details {
    Token68(String),
    Params(Vec<Param>),
}

impl Challenge {
    /// Returns all challenges in the `WWW-Authenticate` fields of `headers`, in order.
    ///
    /// Several field lines have the same meaning as one line with commas between them (RFC 9110 §5.3).
    ///
    /// ```
    /// use http::{HeaderMap, HeaderValue, header::WWW_AUTHENTICATE};
    /// use tower_bearer::Challenge;
    ///
    /// let mut headers = HeaderMap::new();
    /// headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Negotiate, Basic realm=x"));
    /// headers.append(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    ///
    /// let challenges = Challenge::all(&headers);
    /// let schemes: Vec<_> = challenges.iter().map(Challenge::scheme).collect();
    /// assert_eq!(schemes, ["Negotiate", "Basic", "Bearer"]);
    /// ```
    #[must_use]
    pub fn all(headers: &HeaderMap) -> Vec<Self> {
        let lines = headers.get_all(WWW_AUTHENTICATE);
        read(lines.iter().map(HeaderValue::as_bytes))
    }

    /// Parses one field value and returns its challenges, in order.
    #[must_use]
    pub fn parse(value: &[u8]) -> Vec<Self> {
        read([value])
    }

    /// Returns the first scope that a `Bearer` challenge names, if none says that the token is not valid.
    pub(crate) fn unexplained_scope(headers: &HeaderMap) -> Option<String> {
        let challenges = Self::all(headers);
        if challenges.iter().any(|challenge| challenge.is_bearer_error(INVALID_TOKEN)) {
            return None;
        }
        let mut scopes = challenges.iter().filter(|challenge| challenge.is_bearer()).filter_map(|it| it.param("scope"));
        scopes.find(|scope| !scope.trim_ascii().is_empty()).map(str::to_owned)
    }

    /// Returns the authentication scheme as the server wrote it. It is empty if the server left it out.
    ///
    /// To compare it, use [`is_scheme`](Self::is_scheme).
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// Returns whether the challenge has this scheme. The comparison ignores case (RFC 9110 §11.1).
    #[must_use]
    pub fn is_scheme(&self, scheme: &str) -> bool {
        self.scheme.eq_ignore_ascii_case(scheme)
    }

    /// Returns the token68, which some schemes such as `Negotiate` have instead of parameters (RFC 9110 §11.2).
    ///
    /// By the grammar, a single token after the scheme is a token68, and so is a name with an empty value:
    ///
    /// ```
    /// use tower_bearer::Challenge;
    ///
    /// assert_eq!(Challenge::parse(b"Bearer abc")[0].token68(), Some("abc"));
    /// assert_eq!(Challenge::parse(b"Bearer abc=")[0].token68(), Some("abc="));
    /// assert_eq!(Challenge::parse(b"Bearer abc=def")[0].token68(), None);
    /// ```
    #[must_use]
    pub fn token68(&self) -> Option<&str> {
        match &self.details {
            Details::Token68(token) => Some(token),
            Details::Params(_) => None,
        }
    }

    /// Returns the unescaped value of the parameter `name`. The comparison of names ignores case.
    ///
    /// If the parameter is repeated, which RFC 9110 §11.2 forbids, the first one is returned. Bytes of the value that are not
    /// UTF-8 are replaced by U+FFFD.
    ///
    /// ```
    /// use tower_bearer::Challenge;
    ///
    /// let challenges = Challenge::parse(br#"Newauth Title = "Login to \"apps\"""#);
    /// assert_eq!(challenges[0].param("title"), Some(r#"Login to "apps""#));
    /// ```
    #[must_use]
    pub fn param(&self, name: &str) -> Option<&str> {
        self.params().find_map(|(n, value)| n.eq_ignore_ascii_case(name).then_some(value))
    }

    /// Returns whether this is a `Bearer` challenge (RFC 6750 §3), or one that names no scheme.
    pub(crate) fn is_bearer(&self) -> bool {
        self.is_scheme("Bearer") || self.scheme.is_empty()
    }

    /// Returns whether this is a `Bearer` challenge with this `error` code (RFC 6750 §3).
    pub(crate) fn is_bearer_error(&self, code: &str) -> bool {
        self.is_bearer() && self.param("error") == Some(code)
    }

    /// Returns an iterator over all parameters in order, including duplicates.
    ///
    /// Names are as the server wrote them, and values as [`param`](Self::param) returns them.
    pub fn params(&self) -> impl Iterator<Item = (&str, &str)> {
        let params = match &self.details {
            Details::Token68(_) => &[],
            Details::Params(params) => params.as_slice(),
        };
        params.iter().map(|(name, value)| (&**name, &**value))
    }
}

/// Writes the challenge with all values quoted. [`parse`](Challenge::parse) reads it back as an equal challenge.
impl fmt::Display for Challenge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.scheme)?;
        if let Some(token68) = self.token68() {
            write!(f, " {token68}")?;
        }
        let mut separator = if self.scheme.is_empty() { "" } else { " " };
        for (name, value) in self.params() {
            let value = value.replace('\\', r"\\").replace('"', r#"\""#);
            write!(f, r#"{separator}{name}="{value}""#)?;
            separator = ", ";
        }
        Ok(())
    }
}

fn read<'a>(lines: impl IntoIterator<Item = &'a [u8]>) -> Vec<Challenge> {
    let mut challenges: Vec<Challenge> = Vec::new();
    let mut unnamed = Challenge { scheme: String::new(), details: Details::Params(Vec::new()) };
    let mut after_junk = false;
    for member in lines.into_iter().flat_map(members) {
        match Member::read(member.trim_ascii()) {
            Member::Start(challenge) => {
                challenges.push(challenge);
                after_junk = false;
            }
            Member::Params(more) if !after_junk => {
                if let Details::Params(params) = &mut challenges.last_mut().unwrap_or(&mut unnamed).details {
                    params.extend(more);
                }
            }
            Member::Params(_) | Member::Empty => {}
            Member::Junk => after_junk = true,
        }
    }
    if challenges.is_empty() && unnamed.param("error").is_some() {
        challenges.push(unnamed);
    }
    challenges
}

/// The text between two commas. `#challenge` and the `#auth-param` in it form one flat list.
enum Member {
    Empty,
    Start(Challenge),
    /// One if the grammar allows the text; none if all are malformed.
    Params(Vec<Param>),
    Junk,
}

impl Member {
    fn read(member: &[u8]) -> Self {
        if member.is_empty() {
            return Self::Empty;
        }
        if split_param(member).is_some() {
            return Self::Params(params(member));
        }
        let (scheme, rest) = split_token(member);
        match details(rest) {
            Some(details) if !scheme.is_empty() => Self::Start(Challenge { scheme: text(scheme), details }),
            _ => Self::Junk,
        }
    }
}

/// Reads the text from the scheme to the comma: `[ 1*SP ( token68 / auth-param ) ]`. A tab is accepted instead of a space.
fn details(rest: &[u8]) -> Option<Details> {
    let spaced = rest.trim_ascii_start();
    if rest.is_empty() {
        Some(Details::Params(Vec::new()))
    } else if spaced.len() == rest.len() {
        None
    } else if is_token68(spaced) {
        Some(Details::Token68(text(spaced)))
    } else {
        split_param(spaced).map(|_| Details::Params(params(spaced)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Returns the challenges of `field`, each as `Display` writes it.
    fn read_back(field: impl AsRef<[u8]>) -> Vec<String> {
        let challenges = Challenge::parse(field.as_ref());
        challenges.iter().map(Challenge::to_string).collect()
    }

    fn nothing() -> [&'static str; 0] {
        []
    }

    #[test]
    fn a_challenge_may_be_only_a_scheme() {
        let challenges = Challenge::parse(b"Bearer");
        assert_eq!(challenges.len(), 1);
        assert_eq!(challenges[0].scheme(), "Bearer");
        assert_eq!(challenges[0].token68(), None);
        assert_eq!(challenges[0].params().count(), 0);
    }

    /// RFC 9110 §11.1, §11.2.
    #[test]
    fn schemes_and_names_are_case_insensitive_and_kept_as_written() {
        let challenges = Challenge::parse(b"bearer ERROR=invalid_token");
        assert!(challenges[0].is_scheme("Bearer"));
        assert!(!challenges[0].is_scheme("Beare"));
        assert_eq!(challenges[0].scheme(), "bearer");
        assert_eq!(challenges[0].param("error"), Some("invalid_token"));
        assert_eq!(challenges[0].params().next(), Some(("ERROR", "invalid_token")));
    }

    /// RFC 9110 §11.2, §5.6.4.
    #[test]
    fn tokens_and_quoted_strings_are_the_same_value() {
        assert_eq!(read_back("Bearer realm=\"x\""), read_back("Bearer realm=x"));
        assert_eq!(Challenge::parse(b"A r=\"\"")[0].param("r"), Some(""));
    }

    #[test]
    fn a_comma_inside_quotes_does_not_end_a_parameter() {
        let field = r#"Basic realm="a, b", Bearer error="invalid_token", scope="a b""#;
        assert_eq!(read_back(field), [r#"Basic realm="a, b""#, r#"Bearer error="invalid_token", scope="a b""#]);
    }

    #[test]
    fn the_example_of_rfc_9110_section_11_6_1() {
        let field = r#"Basic realm="simple", Newauth realm="apps", type=1, title="Login to \"apps\"""#;
        let swapped = r#"Newauth realm="apps", type=1, title="Login to \"apps\"", Basic realm="simple""#;
        let basic = r#"Basic realm="simple""#;
        let newauth = r#"Newauth realm="apps", type="1", title="Login to \"apps\"""#;
        assert_eq!(read_back(field), [basic, newauth]);
        assert_eq!(read_back(swapped), [newauth, basic]);
        let title = Challenge::parse(swapped.as_bytes())[0].param("TITLE").map(str::to_owned);
        assert_eq!(title.as_deref(), Some(r#"Login to "apps""#));
    }

    /// RFC 9110 §5.6.4.
    #[test]
    fn escapes_may_stand_before_any_character() {
        let challenges = Challenge::parse(br#"A x="\a\\\,\"", y=z"#);
        assert_eq!(challenges[0].param("x"), Some(r#"a\,""#));
        assert_eq!(challenges[0].param("y"), Some("z"));
    }

    #[test]
    fn challenges_of_other_schemes_may_come_first() {
        let challenges = Challenge::parse(br#"DPoP algs="ES256 PS256", Bearer error="invalid_token""#);
        assert_eq!(challenges[0].param("algs"), Some("ES256 PS256"));
        assert_eq!(challenges[0].param("error"), None);
        assert_eq!(challenges[1].param("error"), Some("invalid_token"));
    }

    #[test]
    fn step_up_parameters_are_returned() {
        let field = br#"Bearer error="insufficient_user_authentication", acr_values="a b", max_age="5""#;
        let challenges = Challenge::parse(field);
        assert_eq!(challenges[0].param("acr_values"), Some("a b"));
        assert_eq!(challenges[0].param("max_age"), Some("5"));
    }

    /// RFC 9110 §5.6.1.
    #[test]
    fn empty_list_members_are_skipped() {
        assert_eq!(read_back(", , Bearer , ,"), ["Bearer"]);
        assert_eq!(read_back("Bearer , ,a=b,, c=d,"), [r#"Bearer a="b", c="d""#]);
        assert_eq!(read_back(""), nothing());
        assert_eq!(read_back(" ,\t,, "), nothing());
    }

    #[test]
    fn spaces_and_tabs_may_surround_members_and_equals_signs() {
        assert_eq!(read_back(r#"Bearer error = "x""#), [r#"Bearer error="x""#]);
        assert_eq!(
            read_back("\tBearer \t a\t=\tb\t,\tc =d\t,\tBasic\tr=\"\ts\t\"\t"),
            [r#"Bearer a="b", c="d""#, "Basic r=\"\ts\t\""]
        );
    }

    /// RFC 9110 §5.3, §11.6.1.
    #[test]
    fn field_lines_are_one_list() {
        let mut headers = HeaderMap::new();
        for line in ["Basic realm=\"cut, off", "Negotiate", "Bearer a=b,", "c=d"] {
            headers.append(WWW_AUTHENTICATE, HeaderValue::from_static(line));
        }
        let all: Vec<_> = Challenge::all(&headers).iter().map(Challenge::to_string).collect();
        assert_eq!(all, ["Basic", "Negotiate", r#"Bearer a="b", c="d""#]);
        assert_eq!(Challenge::all(&HeaderMap::new()), []);
    }

    /// RFC 9110 §11.2, §11.3.
    #[test]
    fn a_token68_is_not_a_parameter() {
        let token68 = |field: &str| {
            let challenge = Challenge::parse(field.as_bytes()).remove(0);
            (challenge.token68().map(str::to_owned), challenge.params().count())
        };
        assert_eq!(token68("Negotiate abc=="), (Some("abc==".into()), 0));
        assert_eq!(token68("Negotiate a/b+c=, Basic x=y"), (Some("a/b+c=".into()), 0));
        assert_eq!(token68("Bearer abc"), (Some("abc".into()), 0));
        assert_eq!(token68("Bearer abc="), (Some("abc=".into()), 0));
        assert_eq!(token68("Bearer abc=def"), (None, 1));
        assert_eq!(token68("Bearer abc==def"), (None, 0));
        assert_eq!(token68("Bearer abc =="), (None, 0));
    }

    #[test]
    fn a_token68_takes_no_parameters() {
        assert_eq!(read_back("Bearer abc= , x=y"), ["Bearer abc="]);
        assert_eq!(read_back("Bearer abc=, x=y, Basic z=1"), ["Bearer abc=", r#"Basic z="1""#]);
    }

    #[test]
    fn an_equals_sign_after_the_first_token_does_not_start_a_challenge() {
        assert_eq!(read_back("Bearer ="), nothing());
        assert_eq!(read_back("Bearer = x"), nothing());
        assert_eq!(read_back("a=b, Bearer"), ["Bearer"]);
    }

    #[test]
    fn the_first_of_duplicate_parameters_is_returned() {
        let challenges = Challenge::parse(b"Bearer error=a, Error=b");
        assert_eq!(challenges[0].param("error"), Some("a"));
        assert_eq!(challenges[0].params().count(), 2);
    }

    #[test]
    fn an_unclosed_quote_extends_to_the_end_of_the_line() {
        assert_eq!(read_back(r#"Bearer a=b, c="d, Basic e=f"#), [r#"Bearer a="b""#]);
        assert_eq!(read_back(r#"Bearer a="b\"#), ["Bearer"]);
        assert_eq!(read_back(r#"Bearer a="b\""#), ["Bearer"]);
        assert_eq!(read_back("Bearer a=\""), ["Bearer"]);
        assert_eq!(read_back("\""), nothing());
    }

    #[test]
    fn a_malformed_parameter_is_dropped_alone() {
        for malformed in ["x=a b", "x= =", "x=\"a\"b", "x=(", "x=\"\r\n\"", "x=\"\0\""] {
            assert_eq!(read_back(format!("A p=1, {malformed}, q=2")), [r#"A p="1", q="2""#]);
            assert_eq!(read_back(format!("A {malformed}, q=2")), [r#"A q="2""#]);
        }
        assert_eq!(read_back("A p=1, x=, q=2"), [r#"A p="1", q="2""#]);
    }

    #[test]
    fn parameters_may_be_separated_by_spaces_or_semicolons() {
        for field in [
            r#"Bearer scope="a, b" error="insufficient_scope""#,
            r#"Bearer scope="a, b"; error=insufficient_scope"#,
            "Bearer\tscope = \"a, b\" \t ;\terror\t=\tinsufficient_scope ;",
            r#"Bearer scope="a, b" error="insufficient_scope","#,
            r#"Bearer scope="a, b", error="insufficient_scope" x=("#,
        ] {
            assert_eq!(read_back(field), [r#"Bearer scope="a, b", error="insufficient_scope""#], "{field}");
        }
        assert_eq!(read_back(r#"A p=1, x="a" y=b, q=2"#), [r#"A p="1", x="a", y="b", q="2""#]);
        assert_eq!(
            read_back(r#"A x=a y=b, Basic realm="c d" p=1"#),
            [r#"A x="a", y="b""#, r#"Basic realm="c d", p="1""#]
        );
    }

    #[test]
    fn between_spaces_a_malformed_parameter_is_dropped_alone() {
        for malformed in ["x=a b c", "x=(", "x=", "x=\"a\"b", "x=\"a\"b=c", "x=\"\0\" ", "x=a \"b c\"", "x;", "=x"] {
            let field = format!("A p=\"1\" {malformed} q=2");
            let kept = if malformed == "x;" || malformed == "=x" { r#"A q="2""# } else { r#"A p="1", q="2""# };
            assert_eq!(read_back(&field), [kept], "{field}");
        }
        assert_eq!(read_back("A p=1 q=2 x=\"unclosed r=3"), [r#"A p="1", q="2""#]);
    }

    #[test]
    fn parameters_without_a_scheme_are_a_challenge_if_there_is_no_other() {
        let field = "error=invalid_request,error_description=Invalid request";
        assert_eq!(read_back(field), [r#"error="invalid_request""#]);
        assert!(Challenge::parse(field.as_bytes())[0].scheme().is_empty());
        assert_eq!(read_back(r#"realm=x error="a b", scope="c""#), [r#"realm="x", error="a b", scope="c""#]);
        assert_eq!(read_back("error=a, Basic realm=x"), [r#"Basic realm="x""#]);
        assert_eq!(read_back("realm=x, scope=a"), nothing());
        assert_eq!(read_back("{junk}, error=a"), nothing());
    }

    #[test]
    fn junk_is_dropped_with_the_parameters_after_it() {
        for junk in ["<junk>", "=", "=x", "\"q\"", "B <", "B/1 x=y", "B\"x\"", "B a b", "\\", "é", "B \"q, C\""] {
            let field = format!("A p=1, {junk}, q=2, r=3, C s=4, t=5");
            assert_eq!(read_back(field), [r#"A p="1""#, r#"C s="4", t="5""#], "{junk}");
        }
        assert_eq!(read_back("A p=1, {junk}"), [r#"A p="1""#]);
        assert_eq!(read_back("{junk}, q=2"), nothing());
    }

    #[test]
    fn a_challenge_inside_quotes_is_not_a_challenge() {
        let challenges = Challenge::parse(br#"A x="\", Bearer error=invalid_token, ""#);
        assert_eq!(challenges.len(), 1);
        assert_eq!(challenges[0].param("x"), Some("\", Bearer error=invalid_token, "));
        assert_eq!(read_back(r#"junk<", Bearer error=invalid_token, ">"#), nothing());
    }

    #[test]
    fn values_that_are_not_utf8_do_not_lose_the_rest() {
        let field = b"Bearer realm=\"caf\xe9\", text=\"caf\xc3\xa9\", error=\"invalid_token\", \xff, Basic";
        assert_eq!(read_back(field), ["Bearer realm=\"caf\u{fffd}\", text=\"café\", error=\"invalid_token\"", "Basic"]);
        assert_eq!(read_back(b"A x=\"\\\xc3\xa9\", y=\xe9"), ["A x=\"é\""]);
    }

    /// Members do not overlap, and each is read in a fixed number of passes. So the time is linear in the field's length.
    #[test]
    fn each_byte_of_a_large_field_is_in_one_member() {
        for junk in
            [",", "\"", "\\", "\"\\", "\",", "a", "a ", "a=", "=,", "a,", "a=b,", "a=\"\\\"\",", "a=b ", " ", "\u{0}"]
        {
            let field = junk.repeat(64 * 1024 / junk.len());
            let bytes = field.as_bytes();
            let lengths: usize = members(bytes).map(<[u8]>::len).sum();
            let commas = members(bytes).count() - 1;
            assert_eq!(lengths + commas, bytes.len(), "{junk:?}");

            let challenges = Challenge::parse(bytes);
            let text = challenges.iter().flat_map(|c| {
                let params = c.params().map(|(name, value)| name.len() + value.len());
                params.chain([c.scheme.len() + c.token68().map_or(0, str::len)])
            });
            assert!(text.sum::<usize>() <= bytes.len(), "{junk:?}");
        }
    }

    fn any_challenge() -> impl Strategy<Value = Challenge> {
        let token = || "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,8}";
        let value = r#"([\t -~]|[",\\=]|[^\x00-\x7f]){0,12}"#;
        let details = prop_oneof![
            "[A-Za-z0-9._~+/-]{1,12}={0,3}".prop_map(Details::Token68),
            prop::collection::vec((token(), value), 0..4).prop_map(Details::Params),
        ];
        (token(), details).prop_map(|(scheme, details)| Challenge { scheme, details })
    }

    proptest! {
        #[test]
        fn parse_reads_what_display_writes(challenges in prop::collection::vec(any_challenge(), 0..4)) {
            let field: Vec<_> = challenges.iter().map(Challenge::to_string).collect();
            prop_assert_eq!(Challenge::parse(field.join(", ").as_bytes()), challenges);
        }

        #[test]
        fn spaces_between_parameters_are_read_as_commas(challenge in any_challenge()) {
            let Details::Params(params) = &challenge.details else { return Ok(()) };
            let one = |param: &Param| Challenge { scheme: String::new(), details: Details::Params(vec![param.clone()]) };
            let field = params.iter().fold(challenge.scheme.clone(), |field, param| format!("{field} {}", one(param)));
            prop_assert_eq!(Challenge::parse(field.as_bytes()), [challenge]);
        }

        #[test]
        fn arbitrary_bytes_are_read_without_a_panic(field: Vec<u8>) {
            for challenge in Challenge::parse(&field) {
                prop_assert_eq!(Challenge::parse(challenge.to_string().as_bytes()), [challenge]);
            }
        }

        #[test]
        fn arbitrary_punctuation_is_read_without_a_panic(field in r#"([ab]|[ ,="\\\t]|[^a]){0,40}"#) {
            for challenge in Challenge::parse(field.as_bytes()) {
                prop_assert_eq!(Challenge::parse(challenge.to_string().as_bytes()), [challenge]);
            }
        }

        #[test]
        fn junk_does_not_change_the_challenge_before_it(
            challenge in any_challenge(),
            junk in "[<>@(][^\"]{0,20}",
        ) {
            let field = format!("{challenge}, {junk}");
            prop_assert_eq!(&Challenge::parse(field.as_bytes())[0], &challenge);
        }
    }
}
