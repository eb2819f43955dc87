//! The links that an environment variable names.

use symbolon_token::{Error, ErrorKind};
use symbolon_types::Env;

use super::link::ChainLink;

/// The variable of the Azure SDKs' `DefaultAzureCredential`.
pub(super) const VARIABLE: &str = "AZURE_TOKEN_CREDENTIALS";
/// The secrets of the SDKs' `EnvironmentCredential`, which is the first credential of `prod` there.
const SECRETS: [&str; 2] = ["AZURE_CLIENT_SECRET", "AZURE_CLIENT_CERTIFICATE_PATH"];

const ALL: [ChainLink; 4] = [
    ChainLink::WorkloadIdentity,
    ChainLink::ManagedIdentity,
    ChainLink::AzureCli,
    ChainLink::AzureDeveloperCli,
];

/// Returns the links that the variable names, without case, as in the SDKs. A credential that only
/// the SDKs have is refused, because skipping it could select another identity.
pub(super) fn links(env: &Env) -> Result<&'static [ChainLink], Error> {
    let value = env.var(VARIABLE).ok_or_else(|| invalid(format!("{VARIABLE} is not set")))?;
    let value = value.trim();
    if value.eq_ignore_ascii_case("dev") {
        return Ok(&ALL[2..]);
    }
    if value.eq_ignore_ascii_case("prod") {
        return match SECRETS.into_iter().find(|name| env.var(name).is_some()) {
            None => Ok(&ALL[..2]),
            Some(name) => Err(invalid(format!(
                "{VARIABLE} is `prod`, which begins with the credential in {name}, for which there is no link"
            ))
            .with_advice(
                "unset that variable, name the credential to use, or build that client with symbolon-token",
            )),
        };
    }
    let named = ALL.iter().position(|link| value.eq_ignore_ascii_case(link.as_str()));
    named.map(|index| &ALL[index..=index]).ok_or_else(|| {
        let known = value.len() <= 64 && value.bytes().all(|byte| byte.is_ascii_alphanumeric());
        let shown = if known { format!(" (`{value}`)") } else { String::new() };
        invalid(format!("{VARIABLE} names no supported credential{shown}"))
    })
}

fn invalid(error: String) -> Error {
    Error::new(ErrorKind::Request, "invalid_configuration", error).with_advice(
        "set it to prod, dev, WorkloadIdentityCredential, ManagedIdentityCredential, AzureCliCredential or \
         AzureDeveloperCliCredential, or build the chain by hand",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(variables: &[(&str, &str)]) -> Result<Vec<&'static str>, Error> {
        let links = links(&variables.iter().copied().collect())?;
        Ok(links.iter().map(|link| link.as_str()).collect())
    }

    #[test]
    fn variable_names_a_set_or_one_credential() {
        for (value, expected) in [
            ("prod", &["WorkloadIdentityCredential", "ManagedIdentityCredential"][..]),
            (" Prod ", &["WorkloadIdentityCredential", "ManagedIdentityCredential"]),
            ("DEV", &["AzureCliCredential", "AzureDeveloperCliCredential"]),
            ("azureclicredential", &["AzureCliCredential"]),
            ("AzureCLICredential", &["AzureCliCredential"]),
            ("AzureDeveloperCLICredential", &["AzureDeveloperCliCredential"]),
            ("ManagedIdentityCredential", &["ManagedIdentityCredential"]),
            ("workloadidentitycredential", &["WorkloadIdentityCredential"]),
        ] {
            assert_eq!(named(&[(VARIABLE, value)]).unwrap(), expected, "{value}");
        }
    }

    #[test]
    fn unsupported_credential_is_refused() {
        for (variables, message) in [
            (&[][..], "AZURE_TOKEN_CREDENTIALS is not set"),
            (&[(VARIABLE, "")], "is not set"),
            (&[(VARIABLE, "EnvironmentCredential")], "(`EnvironmentCredential`)"),
            (&[(VARIABLE, "AzurePowerShellCredential")], "(`AzurePowerShellCredential`)"),
            (&[(VARIABLE, "prod;dev")], "names no supported credential; set it to prod"),
            (
                &[(VARIABLE, "prod"), ("AZURE_CLIENT_SECRET", "s3cr3t")],
                "the credential in AZURE_CLIENT_SECRET",
            ),
            (
                &[(VARIABLE, "prod"), ("AZURE_CLIENT_CERTIFICATE_PATH", "/x.pem")],
                "the credential in AZURE_CLIENT_CERTIFICATE_PATH",
            ),
        ] {
            let error = named(variables).unwrap_err();
            assert_eq!((error.code(), error.kind()), ("invalid_configuration", ErrorKind::Request));
            assert!(error.to_string().contains(message), "{error}");
            assert!(!error.to_string().contains("s3cr3t"), "{error}");
        }
    }
}
