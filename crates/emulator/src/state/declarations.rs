//! The tenants, clients and resources that a strict emulator accepts.

use crate::settings::EmulatorSettings;
use crate::state::machine::{IdField, Machine};

/// The resource of assertions in workload identity federation.
const TOKEN_EXCHANGE: &str = "api://AzureADTokenExchange";
/// The prefix of the resource that an application is.
const APPLICATION_URI: &str = "api://";

/// The declarations of an emulator. One that is not strict accepts everything.
#[derive(Clone, Copy)]
pub(crate) struct Declarations<'a> {
    settings: &'a EmulatorSettings,
    machine: &'a Machine,
}

impl<'a> Declarations<'a> {
    pub(crate) fn new(settings: &'a EmulatorSettings, machine: &'a Machine) -> Self {
        Self { settings, machine }
    }

    /// Returns true for the machine's tenant, the names that stand for any tenant, and declared
    /// tenants.
    pub(crate) fn accept_tenant(self, tenant: &str) -> bool {
        let known = [self.machine.tenant_id.as_str(), "common", "organizations", "consumers"];
        !self.settings.strict
            || known.into_iter().chain(self.settings.tenants.iter().map(String::as_str)).any(is(tenant))
    }

    /// Returns true for an identity of the machine, the emulator's own application, and declared
    /// clients.
    pub(crate) fn accept_client(self, client_id: &str) -> bool {
        let settings = self.settings;
        let declared = settings.clients.iter().chain(settings.applications.keys()).chain(&settings.federated);
        !settings.strict
            || self.machine.find(IdField::Client, client_id).is_some()
            || declared.chain([&self.machine.application_id]).map(String::as_str).any(is(client_id))
    }

    /// Returns true for a declared resource, with or without a slash at its end, and for a declared
    /// client, which is a resource by its id.
    pub(crate) fn accept_resource(self, resource: &str) -> bool {
        let declared = self.settings.resources.iter().chain(&self.settings.audience);
        !self.settings.strict
            || resource == TOKEN_EXCHANGE
            || declared.map(|declared| without_slash(declared)).any(is(without_slash(resource)))
            || self.accept_client(resource.strip_prefix(APPLICATION_URI).unwrap_or(resource))
    }
}

fn without_slash(resource: &str) -> &str {
    resource.strip_suffix('/').unwrap_or(resource)
}

/// Returns a comparison that ignores case, as Entra compares names and ids.
fn is(wanted: &str) -> impl Fn(&str) -> bool {
    move |declared| declared.eq_ignore_ascii_case(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: &str = "11111111-2222-4333-8444-555555555555";

    #[test]
    fn strict_accepts_declarations_only() {
        let mut settings = EmulatorSettings {
            strict: true,
            tenants: vec!["contoso.example".to_owned()],
            clients: vec![CLIENT.to_owned()],
            resources: vec!["https://management.example/".to_owned(), "https://vault.example".to_owned()],
            audience: Some("https://own.example".to_owned()),
            ..EmulatorSettings::default()
        };
        let machine = Machine::new(None, false, Vec::new());
        let declarations = Declarations::new(&settings, &machine);
        let (tenant, identity) =
            (machine.tenant_id.to_uppercase(), machine.user_assigned[0].client_id.clone());
        for accepted in [&tenant, "Contoso.example", "common"] {
            assert!(declarations.accept_tenant(accepted), "{accepted}");
        }
        for accepted in [CLIENT, &identity, &machine.client_id, &machine.application_id] {
            assert!(declarations.accept_client(accepted), "{accepted}");
        }
        let api = format!("api://{CLIENT}");
        for accepted in [
            "https://management.example",
            "https://management.example/",
            "https://vault.example/",
            "https://Vault.example",
            "https://own.example",
            "api://AzureADTokenExchange",
            CLIENT,
            &api,
        ] {
            assert!(declarations.accept_resource(accepted), "{accepted}");
        }
        for refused in ["", "contoso.example.org", "fabrikam.example"] {
            assert!(!declarations.accept_tenant(refused), "{refused}");
            assert!(!declarations.accept_client(refused), "{refused}");
        }
        for refused in
            ["", "https://vault.example//", "https://vault.example/x", "http://vault.example", "api://x"]
        {
            assert!(!declarations.accept_resource(refused), "{refused}");
        }
        settings.strict = false;
        let declarations = Declarations::new(&settings, &machine);
        assert!(declarations.accept_tenant("x") && declarations.accept_client("x"));
        assert!(declarations.accept_resource("x"));
    }
}
