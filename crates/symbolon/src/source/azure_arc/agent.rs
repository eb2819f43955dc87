//! The paths of the Azure Arc agent.

use std::path::{Path, PathBuf};

use symbolon_types::Env;

/// The paths of the Azure Arc agent on a platform. (docs/protocol/sources.md#azure-arc)
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ArcAgent {
    program: Option<PathBuf>,
    /// The directory of the challenge files.
    tokens: Option<PathBuf>,
}

impl ArcAgent {
    pub(crate) fn of_this_machine(env: &Env) -> Self {
        Self::on(std::env::consts::OS, env)
    }

    fn on(os: &str, env: &Env) -> Self {
        // Formatted rather than joined, so that tests on other platforms get Windows separators.
        let under = |variable: &str, rest: &str| {
            let folder = env.var(variable)?;
            Some(PathBuf::from(format!(
                r"{}\AzureConnectedMachineAgent\{rest}",
                folder.trim_end_matches('\\')
            )))
        };
        match os {
            "linux" => Self {
                program: Some("/opt/azcmagent/bin/himds".into()),
                tokens: Some("/var/opt/azcmagent/tokens".into()),
            },
            "windows" => {
                Self { program: under("ProgramFiles", "himds.exe"), tokens: under("ProgramData", "Tokens") }
            }
            _ => Self { program: None, tokens: None },
        }
    }

    #[cfg(test)]
    pub(crate) fn with_program(program: Option<PathBuf>) -> Self {
        Self { program, tokens: None }
    }

    pub(crate) fn is_installed(&self) -> bool {
        self.program.as_deref().is_some_and(Path::exists)
    }

    /// Returns the reason that the agent is not installed, as the end of a sentence.
    pub(crate) fn absence(&self) -> String {
        match &self.program {
            Some(program) => format!(", and there is no Azure Arc agent at {}", program.display()),
            None => ", and there is no Azure Arc agent for this platform".to_owned(),
        }
    }

    /// Returns the directory of the challenge files, or `None` on a platform without an agent.
    pub(crate) fn tokens(self) -> Option<PathBuf> {
        self.tokens
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_platform_has_its_own_paths() {
        let env: Env = [("ProgramFiles", r"C:\Program Files"), ("ProgramData", r"C:\ProgramData\")]
            .into_iter()
            .collect();
        let path = |path: &str| Some(PathBuf::from(path));
        for (os, env, program, tokens) in [
            ("linux", &Env::empty(), path("/opt/azcmagent/bin/himds"), path("/var/opt/azcmagent/tokens")),
            (
                "windows",
                &env,
                path(r"C:\Program Files\AzureConnectedMachineAgent\himds.exe"),
                path(r"C:\ProgramData\AzureConnectedMachineAgent\Tokens"),
            ),
            ("windows", &Env::empty(), None, None),
            ("macos", &env, None, None),
        ] {
            assert_eq!(ArcAgent::on(os, env), ArcAgent { program, tokens }, "{os}");
        }
    }
}
