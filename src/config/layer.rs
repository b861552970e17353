//! The settings of a layer.

use std::fmt;

use http::{HeaderName, StatusCode, header};
use serde::{
    Deserialize, Deserializer,
    de::{Error as _, Visitor},
};

use crate::{
    challenge::is_token, config::place::Place, error::Error, layer::BearerAuthLayer, rejection::Rejection,
    replay::DEFAULT_CAP, verdict::Verdict,
};

/// The settings of a [`BearerAuthLayer`]. What is not set has the default of its method.
///
/// ```toml
/// origins = ["https://api.example.org"]
/// assume_origin = "https://api.example.org"
/// allow_plain_http = false
/// retry = true                 # false: no request is sent twice
/// replay_cap = 1048576         # how many bytes of a request are kept for the second attempt
/// keep_existing = false
/// check_scopes = false
/// header = "authorization"
/// scheme = "Bearer"            # "none": the token alone
/// reject_on = [403, "invalid_token", "grpc", "/login"]
/// ```
///
/// Apart from `origins`, `assume_origin` and `reject_on`, these are the defaults. `reject_on` lists the answers that reject the token besides
/// 401: a status, `invalid_token` ([`Rejection::invalid_token`]), the path of a login page ([`Rejection::redirect_to`]), or
/// `grpc` for the rule of gRPC ([`Verdict::grpc`]).
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LayerConfig {
    #[serde(rename = "$place")]
    place: Place,
    origins: Option<Vec<String>>,
    assume_origin: Option<String>,
    allow_plain_http: Option<bool>,
    retry: Option<bool>,
    replay_cap: Option<usize>,
    keep_existing: Option<bool>,
    check_scopes: Option<bool>,
    header: Option<Header>,
    scheme: Option<Scheme>,
    reject_on: Vec<Answer>,
}

impl LayerConfig {
    /// Returns the layer with these settings. `replay` makes the [strategy](crate::replay) that keeps bodies for the second
    /// attempt, from the number of bytes to keep.
    ///
    /// ```
    /// # use tower_bearer::{BearerAuthLayer, FixedToken, config::LayerConfig, replay::{CloneBody, Tee}};
    /// # fn example(config: &LayerConfig, layer: BearerAuthLayer) -> Result<(), tower_bearer::Error> {
    /// let for_streams = config.apply(layer.clone(), |cap| Tee::in_place().cap(cap))?;
    /// let for_cloned_bodies = config.apply(layer, |_| CloneBody)?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// When an origin or the assumed origin is wrong.
    pub fn apply<R, N>(
        &self,
        layer: BearerAuthLayer<R>,
        replay: impl FnOnce(usize) -> N,
    ) -> Result<BearerAuthLayer<Option<N>>, Error> {
        let replay = self.retry.unwrap_or(true).then(|| replay(self.replay_cap.unwrap_or(DEFAULT_CAP)));
        let mut layer = layer.replay(replay);
        if let Some(origins) = &self.origins {
            layer = layer.origins(origins).map_err(|error| self.place.child("origins").error(error))?;
        }
        if let Some(origin) = &self.assume_origin {
            layer = layer.assume_origin(origin).map_err(|error| self.place.child("assume_origin").error(error))?;
        }
        if let Some(allow) = self.allow_plain_http {
            layer = layer.allow_plain_http(allow);
        }
        if let Some(keep) = self.keep_existing {
            layer = layer.keep_existing(keep);
        }
        if let Some(check) = self.check_scopes {
            layer = layer.check_scopes(check);
        }
        if let Some(Header(name)) = &self.header {
            layer = layer.header(name.clone());
        }
        layer = match &self.scheme {
            None => layer,
            Some(Scheme::None) => layer.without_scheme(),
            Some(Scheme::Word(scheme)) => layer.scheme(scheme)?,
        };
        if self.reject_on.contains(&Answer::Grpc) {
            layer = layer.judge_by(Verdict::grpc);
        }
        Ok(self.reject_on.iter().filter_map(Answer::rejection).fold(layer, BearerAuthLayer::reject_on))
    }
}

#[derive(Clone, Debug)]
struct Header(HeaderName);

/// Headers that say where a message goes and where it ends (RFC 9110 §7, RFC 9112 §6).
const OF_HTTP: [HeaderName; 9] = [
    header::HOST,
    header::CONTENT_LENGTH,
    header::TRANSFER_ENCODING,
    header::CONNECTION,
    header::UPGRADE,
    header::TE,
    header::TRAILER,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
];

impl<'de> Deserialize<'de> for Header {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let wrong = |_| D::Error::custom("this is not the name of a header; give one such as \"x-auth-token\"");
        let name: HeaderName = name.parse().map_err(wrong)?;
        if OF_HTTP.contains(&name) {
            return Err(D::Error::custom("HTTP itself uses this header; give another one such as \"x-auth-token\""));
        }
        Ok(Self(name))
    }
}

#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "String")]
enum Scheme {
    None,
    Word(String),
}

impl TryFrom<String> for Scheme {
    type Error = &'static str;

    fn try_from(scheme: String) -> Result<Self, &'static str> {
        match scheme.as_str() {
            "none" => Ok(Self::None),
            word if is_token(word) => Ok(Self::Word(scheme)),
            _ => Err("this is not one word; give the word that stands before the token, or \"none\""),
        }
    }
}

/// An answer that rejects the token.
#[derive(Clone, Debug, PartialEq)]
enum Answer {
    Status(StatusCode),
    InvalidToken,
    Grpc,
    RedirectTo(String),
}

impl Answer {
    fn rejection(&self) -> Option<Rejection> {
        match self {
            Self::Status(status) => Some(Rejection::status(*status)),
            Self::InvalidToken => Some(Rejection::invalid_token()),
            Self::RedirectTo(path) => Some(Rejection::redirect_to(path)),
            Self::Grpc => None,
        }
    }
}

impl<'de> Deserialize<'de> for Answer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnswerVisitor)
    }
}

struct AnswerVisitor;

const ANSWERS: &str =
    "an error status such as 403, \"invalid_token\", \"grpc\", or the path of a login page such as \"/login\"";

impl Visitor<'_> for AnswerVisitor {
    type Value = Answer;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(ANSWERS)
    }

    fn visit_i64<E: serde::de::Error>(self, status: i64) -> Result<Answer, E> {
        self.visit_str(&status.to_string())
    }

    fn visit_u64<E: serde::de::Error>(self, status: u64) -> Result<Answer, E> {
        self.visit_str(&status.to_string())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Answer, E> {
        match (text, text.parse::<StatusCode>()) {
            ("grpc", _) => Ok(Answer::Grpc),
            ("invalid_token", _) => Ok(Answer::InvalidToken),
            (path, _) if path.starts_with('/') => Ok(Answer::RedirectTo(path.to_owned())),
            (_, Ok(status)) if !status.is_informational() && !status.is_success() => Ok(Answer::Status(status)),
            _ => Err(E::custom(format_args!("this answer cannot reject a token; give {ANSWERS}"))),
        }
    }
}
