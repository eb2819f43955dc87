//! The rows of `contract.md`: runs the command and reads its output.

#![cfg(test)]

#[cfg(unix)]
mod apache;
mod app;
mod app_credentials;
mod app_token;
#[cfg(unix)]
mod binding;
#[cfg(unix)]
mod binding_daemon;
#[cfg(unix)]
mod binding_servers;
mod call;
mod demo;
#[cfg(unix)]
mod devices;
mod doctor;
mod emulate;
mod environment;
#[cfg(unix)]
mod exec;
mod explain;
mod failure;
mod global;
mod hostile;
mod inspect;
#[cfg(unix)]
mod limits;
mod manual;
mod origin;
#[cfg(target_os = "linux")]
mod packages;
mod progress;
#[cfg(unix)]
mod proxy;
#[cfg(unix)]
mod proxy_applications;
mod run;
#[cfg(unix)]
mod running;
#[cfg(unix)]
mod serve;
#[cfg(unix)]
mod service;
#[cfg(unix)]
mod service_manager;
#[cfg(unix)]
mod terminal;
mod token;
mod token_json;
mod usage;
#[cfg(unix)]
mod variables;

// Some tests exist on Unix only.
#[cfg(unix)]
#[test]
fn rows_have_tests() {
    symbolon_test_rows::assert_each_row_has_a_test(include_str!("../contract.md"));
}
