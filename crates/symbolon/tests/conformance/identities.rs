//! The parameters that select an identity.

use symbolon::{ErrorKind, ManagedIdentityId};
use symbolon_emulator::Source;

use crate::test_env::{RESOURCE, ScriptedRun, SourceTestEnv, token};

#[tokio::test]
async fn each_source_has_its_own_id_parameter() {
    let test_env = SourceTestEnv::new().await;
    let ids = test_env.emulator.user_assigned();
    let client = || ManagedIdentityId::client_id(&ids.client_id).unwrap();
    let object = || ManagedIdentityId::object_id(&ids.object_id).unwrap();
    let resource = || ManagedIdentityId::resource_id(&ids.resource_id).unwrap();
    let selectors = ["client_id", "clientid", "object_id", "principalId", "mi_res_id", "msi_res_id"];
    for (source, id, name, value) in [
        (Source::AppService, client(), "client_id", ids.client_id.as_str()),
        (Source::AppService, object(), "object_id", &ids.object_id),
        (Source::AppService, resource(), "mi_res_id", &ids.resource_id),
        (Source::Imds, client(), "client_id", &ids.client_id),
        (Source::Imds, object(), "object_id", &ids.object_id),
        (Source::Imds, resource(), "msi_res_id", &ids.resource_id),
        (Source::ServiceFabric, object(), "principalId", &ids.object_id),
        (Source::MachineLearning, client(), "clientid", &ids.client_id),
        (
            Source::MachineLearning,
            ManagedIdentityId::system_assigned(),
            "clientid",
            test_env.emulator.client_id(),
        ),
        (Source::AzureArc, client(), "client_id", &ids.client_id),
        (Source::AzureArc, object(), "object_id", &ids.object_id),
        (Source::AzureArc, resource(), "msi_res_id", &ids.resource_id),
    ] {
        test_env.as_id(source, id.clone()).token(RESOURCE).await.unwrap();
        let entry = test_env.last(source);
        let sent: Vec<_> =
            selectors.iter().filter_map(|name| entry.query(name).map(|value| (*name, value))).collect();
        assert_eq!(sent, [(name, value)], "{source} {id:?}");
    }
    // Only Azure Machine Learning has a parameter for the host's own identity.
    for source in Source::ALL {
        test_env.on(source).token(RESOURCE).await.unwrap();
        let entry = test_env.last(source);
        let sent = selectors.iter().filter(|name| entry.query(name).is_some()).count();
        assert_eq!(sent, usize::from(source == Source::MachineLearning), "{source}");
    }
}

#[test]
fn unsupported_kind_of_id_is_refused() {
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
        let run = ScriptedRun::with_builder(source, vec![token()], |builder| builder.identity(id.clone()));
        let error = run.result.unwrap_err();
        assert_eq!((error.code(), error.kind()), (code, ErrorKind::Environment), "{source} {id:?}");
        assert!(error.to_string().contains("nothing was sent") && !error.advice().is_empty(), "{error}");
        assert!(run.transport.requests().is_empty(), "{source} {id:?}");
    }
    let without_default = [("MSI_ENDPOINT", "http://localhost:7071/msi/token"), ("MSI_SECRET", "s3cr3t")];
    let env = without_default.into_iter().collect();
    let run = ScriptedRun::in_env(env, vec![token()]);
    let error = run.result.unwrap_err();
    assert_eq!(error.code(), "invalid_managed_identity_id_type");
    assert!(error.to_string().contains("DEFAULT_IDENTITY_CLIENT_ID"), "{error}");
    assert!(run.transport.requests().is_empty());
}

#[test]
fn empty_id_is_refused() {
    for made in [
        ManagedIdentityId::client_id(""),
        ManagedIdentityId::object_id(" "),
        ManagedIdentityId::resource_id("\t"),
    ] {
        assert_eq!(made.unwrap_err().code(), "invalid_managed_identity_id");
    }
}
