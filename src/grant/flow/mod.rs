//! What each grant sends: the type parameters of [`Grant`](crate::grant::Grant).

pub(super) mod behavior;
pub(super) mod client_credentials;
pub(super) mod jwt_bearer;
pub(super) mod password;
pub(super) mod refresh_token;
pub(super) mod token_exchange;

pub use behavior::Flow;
pub use client_credentials::ClientCredentialsFlow;
pub use jwt_bearer::JwtBearerFlow;
pub use password::PasswordFlow;
pub use refresh_token::RefreshTokenFlow;
pub use token_exchange::TokenExchangeFlow;
