//! `symbolon emulate`.

use std::process::ExitCode;

use symbolon::Error;
use symbolon_emulator::{Emulator, EmulatorBuilder, Source};

use crate::args::{EmulateOptions, Host};
use crate::failure;
use crate::output::table;

pub(crate) async fn run(options: &EmulateOptions) -> Result<ExitCode, Error> {
    if !options.listen.ip().is_loopback() {
        let message = "the emulator listens on loopback only: its tokens are for anybody who asks";
        return Err(failure::request("invalid_usage", message));
    }
    let emulator = emulator(options).start().await;
    let emulator = emulator.map_err(|error| failure::local("the emulator could not be started", error))?;
    let folder = tempfile::Builder::new().prefix("symbolon-").tempdir();
    let folder =
        folder.map_err(|error| failure::local("there is no place for the emulator's certificate", error))?;
    let ca = emulator.write_ca(folder.path());
    let ca = ca.map_err(|error| failure::local("the emulator's certificate could not be written", error))?;
    let environment = emulator.environment_with_ca(&ca);
    if options.print_env {
        for (name, value) in &environment {
            anstream::println!("export {name}='{value}'");
        }
    } else {
        anstream::println!("{}\n", describe(&emulator));
        let variables: Vec<_> = environment.into_iter().collect();
        anstream::println!("{}", table(&variables));
    }
    let mut journal = emulator.subscribe();
    loop {
        tokio::select! {
            entry = journal.next() => match entry {
                Some(entry) => anstream::eprintln!("{entry}"),
                None => return Ok(ExitCode::SUCCESS),
            },
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
        }
    }
}

fn emulator(options: &EmulateOptions) -> EmulatorBuilder {
    let emulator = Emulator::builder();
    let (source, emulator) = match options.source {
        Host::Imds => (Source::Imds, emulator.imds_address(options.listen)),
        Host::AppService => (Source::AppService, emulator.hosts_address(options.listen)),
        Host::ServiceFabric => (Source::ServiceFabric, emulator.service_fabric_address(options.listen)),
        Host::MachineLearning => (Source::MachineLearning, emulator.hosts_address(options.listen)),
        Host::CloudShell => (Source::CloudShell, emulator.hosts_address(options.listen)),
        Host::AzureArc => (Source::AzureArc, emulator.hosts_address(options.listen)),
    };
    emulator.source(source)
}

fn describe(emulator: &Emulator) -> String {
    let user_assigned = emulator.user_assigned();
    table(&[
        ("metadata service", emulator.imds_url().to_owned()),
        ("token service", emulator.token_url().to_owned()),
        ("resource", emulator.resource_url().to_owned()),
        ("tenant", emulator.tenant_id().to_owned()),
        ("system-assigned", format!("client id {}", emulator.client_id())),
        ("user-assigned", format!("client id {}", user_assigned.client_id())),
        ("", format!("object id {}", user_assigned.object_id())),
        ("", format!("resource id {}", user_assigned.resource_id())),
    ])
}
