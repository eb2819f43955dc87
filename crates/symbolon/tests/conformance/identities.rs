//! Which identity: spelled as each source spells it, or refused.

use symbolon::{ErrorKind, ManagedIdentityId};
use symbolon_emulator::Source;

use crate::lab::{Lab, RESOURCE, Scripted, token};

/// NET-06, GO-06, GO-10, GO-11, GO-15, ML-01, SF-02, X-07, BLD-03.
#[tokio::test]
async fn each_source_is_told_the_identity_in_its_own_words() {
    let lab = Lab::new().await;
    let ids = lab.emulator.user_assigned();
    let client = || ManagedIdentityId::client_id(ids.client_id()).unwrap();
    let object = || ManagedIdentityId::object_id(ids.object_id()).unwrap();
    let resource = || ManagedIdentityId::resource_id(ids.resource_id()).unwrap();
    let selectors = ["client_id", "clientid", "object_id", "principalId", "mi_res_id", "msi_res_id"];
    for (source, id, name, value) in [
        (Source::AppService, client(), "client_id", ids.client_id()),
        (Source::AppService, object(), "object_id", ids.object_id()),
        (Source::AppService, resource(), "mi_res_id", ids.resource_id()),
        (Source::Imds, client(), "client_id", ids.client_id()),
        (Source::Imds, object(), "object_id", ids.object_id()),
        (Source::Imds, resource(), "msi_res_id", ids.resource_id()),
        (Source::ServiceFabric, object(), "principalId", ids.object_id()),
        (Source::MachineLearning, client(), "clientid", ids.client_id()),
        (Source::MachineLearning, ManagedIdentityId::system_assigned(), "clientid", lab.emulator.client_id()),
        (Source::AzureArc, client(), "client_id", ids.client_id()),
        (Source::AzureArc, object(), "object_id", ids.object_id()),
        (Source::AzureArc, resource(), "msi_res_id", ids.resource_id()),
    ] {
        lab.as_id(source, id.clone()).token(RESOURCE).await.unwrap();
        let entry = lab.last(source);
        let told: Vec<_> =
            selectors.iter().filter_map(|name| entry.query(name).map(|value| (*name, value))).collect();
        assert_eq!(told, [(name, value)], "{source} {id:?}");
    }
    // The host's own identity has no name, except at Azure Machine Learning.
    for source in Source::ALL {
        lab.on(source).token(RESOURCE).await.unwrap();
        let entry = lab.last(source);
        let told = selectors.iter().filter(|name| entry.query(name).is_some()).count();
        assert_eq!(told, usize::from(source == Source::MachineLearning), "{source}");
    }
}

/// CS-01, GO-09, GO-12, ML-02, SF-01, D-13, GSF-07.
#[test]
fn what_a_host_has_no_words_for_is_refused_before_anything_is_sent() {
    let client = || ManagedIdentityId::client_id("1").unwrap();
    let object = || ManagedIdentityId::object_id("1").unwrap();
    let resource = || ManagedIdentityId::resource_id("/1").unwrap();
    for (source, id, code) in [
        (Source::CloudShell, client(), "user_assigned_managed_identity_not_supported"),
        (Source::CloudShell, object(), "user_assigned_managed_identity_not_supported"),
        (Source::CloudShell, resource(), "user_assigned_managed_identity_not_supported"),
        (Source::ServiceFabric, client(), "user_assigned_managed_identity_not_configurable_at_runtime"),
        (Source::ServiceFabric, resource(), "user_assigned_managed_identity_not_configurable_at_runtime"),
        (Source::MachineLearning, object(), "invalid_managed_identity_id_type"),
        (Source::MachineLearning, resource(), "invalid_managed_identity_id_type"),
    ] {
        let asked = Scripted::as_set_up(source, vec![token()], |builder| builder.identity(id.clone()));
        let error = asked.outcome.unwrap_err();
        assert_eq!((error.code(), error.kind()), (code, ErrorKind::Environment), "{source} {id:?}");
        assert!(error.to_string().contains("nothing was sent") && !error.advice().is_empty(), "{error}");
        assert!(asked.transport.requests().is_empty(), "{source} {id:?}");
    }
    let without_default = [("MSI_ENDPOINT", "http://localhost:7071/msi/token"), ("MSI_SECRET", "s3cr3t")];
    let env = without_default.into_iter().collect();
    let asked = Scripted::in_env(env, vec![token()]);
    let error = asked.outcome.unwrap_err();
    assert_eq!(error.code(), "invalid_managed_identity_id_type");
    assert!(error.to_string().contains("DEFAULT_IDENTITY_CLIENT_ID"), "{error}");
    assert!(asked.transport.requests().is_empty());
}

/// GO-23: an empty id is no identity, least of all the host's own.
#[test]
fn an_empty_id_is_refused() {
    for made in [
        ManagedIdentityId::client_id(""),
        ManagedIdentityId::object_id(" "),
        ManagedIdentityId::resource_id("\t"),
    ] {
        assert_eq!(made.unwrap_err().code(), "invalid_managed_identity_id");
    }
}
