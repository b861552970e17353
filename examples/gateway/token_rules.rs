//! How the upstream takes a token, and how it says that it does not accept one.

use http::{HeaderName, StatusCode};
use tower_bearer::{
    BearerAuthLayer, Error, Rejection, Verdict,
    config::LayerConfig,
    replay::{InPlace, Tee},
};

use crate::cli::{CliError, Options};

pub const HELP: &str = "  --token-header NAME        the header that carries the token [authorization]
  --token-scheme SCHEME      the word before the token; `none` sends the token alone [Bearer]
  --reject-on LIST           answers that reject the token besides 401, with commas: a status such as 403, `invalid_token`,
                             `grpc`, or the path of a login page such as /login [none]
";

pub const OPTIONS: [&str; 3] = ["token-header", "token-scheme", "reject-on"];

/// Where the settings of the layer come from.
pub enum LayerRules {
    Options(TokenRules),
    File(Box<LayerConfig>),
}

impl LayerRules {
    /// # Errors
    /// When a setting is wrong.
    pub fn apply(self, layer: BearerAuthLayer) -> Result<BearerAuthLayer<Option<Tee<InPlace>>>, CliError> {
        match self {
            Self::Options(rules) => rules.apply(layer.replay(Some(Tee::in_place()))).map_err(Into::into),
            Self::File(config) => {
                let layer = config.apply(layer, |cap| Tee::in_place().cap(cap));
                layer.map_err(|error| CliError::config(error.to_string()))
            }
        }
    }
}

/// The options for the layer.
#[derive(Default)]
pub struct TokenRules {
    header: Option<HeaderName>,
    scheme: Option<String>,
    rejections: Vec<Rejection>,
    is_grpc: bool,
}

impl TokenRules {
    pub fn from_options(options: &Options) -> Result<Self, CliError> {
        let mut rules = Self {
            header: options.parsed("token-header", "the name of a header")?,
            scheme: options.text("token-scheme")?,
            ..Self::default()
        };
        for answer in options.text("reject-on")?.iter().flat_map(|list| list.split(',')).map(str::trim) {
            match (answer, answer.parse()) {
                ("grpc", _) => rules.is_grpc = true,
                ("invalid_token", _) => rules.rejections.push(Rejection::invalid_token()),
                (path, _) if path.starts_with('/') => rules.rejections.push(Rejection::redirect_to(path)),
                (_, Ok(status)) if StatusCode::is_success(&status) => return Err(wrong()),
                (_, Ok(status)) => rules.rejections.push(Rejection::status(status)),
                (_, Err(_)) => return Err(wrong()),
            }
        }
        Ok(rules)
    }

    /// # Errors
    /// When the scheme is not one word.
    fn apply<R>(self, layer: BearerAuthLayer<R>) -> Result<BearerAuthLayer<R>, Error> {
        let layer = if self.is_grpc { layer.judge_by(Verdict::grpc) } else { layer };
        let layer = self.rejections.into_iter().fold(layer, BearerAuthLayer::reject_on);
        let layer = if let Some(name) = self.header { layer.header(name) } else { layer };
        match self.scheme.as_deref() {
            None => Ok(layer),
            Some("none") => Ok(layer.without_scheme()),
            Some(scheme) => layer.scheme(scheme),
        }
    }
}

fn wrong() -> CliError {
    CliError::usage(
        "--reject-on must be a list such as 403,422,/login: an error status, `invalid_token`, `grpc` or a path",
    )
}
