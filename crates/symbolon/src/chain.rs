//! A chain of credentials that are tried in an order of the caller's own.

mod azure_cli;
mod azure_developer_cli;
mod builder;
mod credential_chain;
mod link;
mod links;
mod output_pipe;
mod process;
mod request;
mod tool;
mod tool_account;
mod tool_output;
mod tool_spec;
mod variable;

pub use self::azure_cli::AzureCli;
pub use self::azure_developer_cli::AzureDeveloperCli;
pub use self::builder::CredentialChainBuilder;
pub use self::credential_chain::CredentialChain;
pub use self::link::{ChainLink, SkippedLink};
pub use self::request::{ChainFuture, ChainRequest};
