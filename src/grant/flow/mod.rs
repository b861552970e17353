//! What each grant sends, and nothing else: the type parameters of [`Grant`](crate::grant::Grant).

pub(super) mod client_credentials;
pub(super) mod jwt_bearer;
mod kind;
pub(super) mod password;
pub(super) mod refresh_token;
pub(super) mod token_exchange;

pub use client_credentials::ClientCredentialsFlow;
pub use jwt_bearer::JwtBearerFlow;
pub use kind::Flow;
pub use password::PasswordFlow;
pub use refresh_token::RefreshTokenFlow;
pub use token_exchange::TokenExchangeFlow;

pub(crate) use kind::Refresh;
