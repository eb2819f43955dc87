//! `symbolon emulate`.

mod run_dir;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use symbolon::{Env, Error, Source};
use symbolon_emulator::{Emulator, EmulatorBuilder, JournalEntry, Server};

use self::run_dir::RunDir;
use crate::args::tools::EmulateOptions;
use crate::failure;
use crate::output::{OutputFormat, print_to_stderr, table, variables};
use crate::signals::Signals;
use crate::stdout::print_line;

pub(super) async fn run(
    options: &EmulateOptions,
    format: OutputFormat,
    env: &Env,
) -> Result<ExitCode, Error> {
    if !options.listen.ip().is_loopback() || !options.admin.ip().is_loopback() {
        let message =
            "the emulator listens on loopback addresses only, because it issues tokens to any client";
        return Err(failure::request("invalid_usage", message));
    }
    let builder = emulator(options).admin_address(options.admin);
    let builder = match &options.faults {
        Some(file) => with_faults(builder, file)?,
        None => builder,
    };
    let mut record = options.journal.as_deref().map(open).transpose()?;
    // From here on, a signal ends the command normally, so that the run directory is removed.
    let mut signals = Signals::listen()?;
    let emulator = builder.start().await;
    let emulator = emulator.map_err(|error| failure::local("the emulator could not be started", error))?;
    let run_dir = RunDir::create(env)?;
    let ca = emulator.write_ca(run_dir.path());
    let ca = ca.map_err(|error| failure::local("the emulator's certificate could not be written", error))?;
    let environment = emulator.environment_with_ca(&ca);
    let bare = options.print_env || format == OutputFormat::Json;
    if !bare {
        print_line(format_args!("{}\n", describe(&emulator, options)))?;
        print_line("Set these variables to use it, for example in another terminal:\n")?;
    }
    print_line(variables(environment, format))?;
    if bare {
        print_to_stderr(format_args!("page: {}", emulator.admin_url().unwrap_or_default()));
    } else {
        print_line(format_args!("{}\n", example(&emulator, options)))?;
    }
    // With a fixed address, requests may have arrived before the variables were printed.
    let (so_far, mut journal) = emulator.follow();
    for entry in so_far.entries() {
        log(entry, 0, record.as_mut())?;
    }
    loop {
        tokio::select! {
            entry = journal.next() => match entry {
                Some(entry) => log(&entry, journal.missed(), record.as_mut())?,
                None => return Ok(ExitCode::SUCCESS),
            },
            _ = signals.next() => return Ok(ExitCode::SUCCESS),
        }
    }
}

/// Applies the faults and settings of a file.
fn with_faults(builder: EmulatorBuilder, file: &Path) -> Result<EmulatorBuilder, Error> {
    let invalid = |what: String| failure::request("invalid_faults", format!("{}: {what}", file.display()));
    let text =
        fs::read_to_string(file).map_err(|error| invalid(format!("the file could not be read: {error}")))?;
    builder.faults_toml(&text).map_err(|error| invalid(error.to_string()))
}

/// Opens the journal file for appending.
fn open(file: &Path) -> Result<File, Error> {
    OpenOptions::new().create(true).append(true).open(file).map_err(|error| {
        failure::request(
            "invalid_usage",
            format!("{}: the journal could not be opened: {error}", file.display()),
        )
    })
}

/// Logs one exchange to stderr and to the journal file.
fn log(entry: &JournalEntry, missed: u64, record: Option<&mut File>) -> Result<(), Error> {
    print_to_stderr(entry);
    let Some(record) = record else { return Ok(()) };
    // After a burst of more than a thousand requests, the line has the number of missed ones.
    let gap = if missed > 0 { format!(",\"missed\":{missed}}}") } else { "}".to_owned() };
    let line = entry.to_json();
    let line = line.strip_suffix('}').unwrap_or(&line);
    writeln!(record, "{line}{gap}").map_err(|error| failure::local("the journal could not be written", error))
}

fn emulator(options: &EmulateOptions) -> EmulatorBuilder {
    let emulator = Emulator::builder();
    if options.azure_addresses {
        return emulator.azure_addresses();
    }
    let server = match options.source {
        Source::Imds => Server::Imds,
        Source::ServiceFabric => Server::ServiceFabric,
        _ => Server::Hosts,
    };
    emulator.address(server, options.listen).source(options.source)
}

/// Returns an example command for the emulator.
fn example(emulator: &Emulator, options: &EmulateOptions) -> String {
    match options.source {
        Source::Imds => {
            format!("symbolon call {} --resource https://vault.azure.net --pop", emulator.resource_url())
        }
        // The other hosts issue no bound tokens.
        _ => "symbolon token --resource https://vault.azure.net".to_owned(),
    }
}

fn describe(emulator: &Emulator, options: &EmulateOptions) -> String {
    let user_assigned = emulator.user_assigned();
    let mut rows = vec![
        ("metadata service", emulator.imds_url().to_owned()),
        ("token service", emulator.token_url().to_owned()),
        ("resource", emulator.resource_url().to_owned()),
        ("page", emulator.admin_url().unwrap_or_default().to_owned()),
        ("tenant", emulator.tenant_id().to_owned()),
        ("system-assigned", format!("client id {}", emulator.client_id())),
        ("user-assigned", format!("client id {}", &user_assigned.client_id)),
        ("", format!("object id {}", &user_assigned.object_id)),
        ("", format!("resource id {}", &user_assigned.resource_id)),
    ];
    if options.azure_addresses {
        let address = emulator.imds_url().trim_start_matches("http://");
        rows.push(("for /etc/hosts", format!("{address} {}", Emulator::AZURE_NAMES.join(" "))));
    }
    table(&rows)
}
