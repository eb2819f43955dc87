//! The token client against independent token services: node-oidc-provider, directly and behind
//! nginx, and Glewlwyd.

#![cfg(test)]
#![cfg(unix)]

mod assertion;
mod browser;
mod certificate;
mod clients;
mod credential;
mod example;
mod glewlwyd;
mod glewlwyd_server;
mod methods;
mod provider;
mod recovery;
mod refusals;
mod server;
mod sign_in;
