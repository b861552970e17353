#![doc = include_str!("../README.md")]
#![cfg_attr(docsrs, feature(doc_cfg))]

mod bearer_client; // a client and its layer, as one service
mod error; // a token that is missing, or an error of reqwest
mod http_client; // reqwest's client below a tower stack
mod keep_body; // how a body of reqwest is kept for the second attempt
mod request_builder; // what is added to `reqwest::RequestBuilder`
mod reqwest_types; // reqwest's requests and responses above a tower stack
mod response_body; // the body of an answer, with which the whole response travels

pub use bearer_client::BearerClient;
pub use error::Error;
pub use http_client::{HttpClient, HttpFuture};
pub use keep_body::{KeepBody, KeptBody};
pub use request_builder::RequestBuilderExt;
pub use reqwest_types::{ReqwestTypes, ReqwestTypesLayer, ResponseFuture};
pub use response_body::ResponseBody;
