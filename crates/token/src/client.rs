//! The token client: requests, the exchange with the token endpoint, and sign-in.

mod acquisition;
mod authenticate;
mod authorization_request;
mod bound_tokens;
mod builder;
mod exchange;
mod options;
mod owned_request;
mod parts;
mod pending_authorization;
mod request;
mod throttle;
mod token_client;
mod user_flows;

pub use authorization_request::{AuthorizationFuture, AuthorizationRequest, Prompt, ResponseMode};
pub use builder::TokenClientBuilder;
pub use options::RequestOptions;
pub use pending_authorization::PendingAuthorization;
pub use request::{TokenFuture, TokenRequest};
pub use token_client::TokenClient;
