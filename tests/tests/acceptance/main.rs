//! The rows of `tests/acceptance.md`, end to end against the emulator over real TLS.

#![cfg(test)]

mod agents;
mod azurite;
mod binding;
mod blob_server;
mod cache;
mod capabilities;
mod certificate_files;
mod clients;
mod concurrency;
mod confidential;
mod configuration;
mod data;
mod data_azure_sdk;
mod data_call;
mod data_failures;
mod data_object_store;
mod data_plane;
mod data_recovery;
mod data_reqwest;
mod data_rotation;
mod data_tonic;
mod delegation;
#[cfg(unix)]
mod handover;
mod identity_binding;
mod key;
mod key_vault;
mod key_vault_failures;
mod late_server;
mod lifetime;
mod metrics;
#[cfg(target_os = "linux")]
mod metrics_collector;
mod minting;
mod ops;
mod proxy;
mod proxy_clients;
mod proxy_env;
mod proxy_limits;
mod recovery;
mod request;
mod resource_server;
mod routing;
mod runtimes;
mod sources;
#[cfg(target_os = "linux")]
mod store;
#[cfg(target_os = "linux")]
mod store_faults;
#[cfg(unix)]
mod store_files;
#[cfg(target_os = "linux")]
mod store_outages;
mod succession;
mod telemetry;
mod test_env;
mod transport;
mod troubleshooting;
mod users;
mod vault_server;

#[test]
fn rows_have_tests() {
    symbolon_test_rows::assert_each_row_has_a_test(include_str!("../../acceptance.md"));
}
