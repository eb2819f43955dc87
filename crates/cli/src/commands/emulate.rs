//! `symbolon emulate`.

mod run_dir;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use serde_json::{Map, Value};
use symbolon::parts::types::printable;
use symbolon::{Env, Error, ErrorKind, Source};
use symbolon_emulator::{Emulator, EmulatorBuilder, JournalEntry, Server};

use self::run_dir::RunDir;
use crate::args::GlobalOptions;
use crate::args::tools::EmulateOptions;
use crate::failure;
use crate::output::{self, OutputFormat, print_to_stderr, table, variables};
use crate::signals::Signals;
use crate::stdout::print_line;

pub(super) async fn run(
    options: &EmulateOptions,
    global: &GlobalOptions,
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
    let run_dir = RunDir::create(env)?;
    let emulator = builder.ca_folder(run_dir.path()).start().await;
    let emulator = emulator.map_err(not_started)?;
    let format = global.output;
    let environment = variables(emulator.environment(), format);
    let page = emulator.admin_url().unwrap_or_default();
    if options.print_env {
        print_line(environment)?;
        print_to_stderr(format_args!("page: {page}"));
    } else if format == OutputFormat::Json {
        print_line(json(&emulator))?;
        print_to_stderr(format_args!("page: {page}"));
    } else {
        print_line(format_args!("{}\n", describe(&emulator, options)))?;
        print_line("Set these variables to use it, for example in another terminal:\n")?;
        print_line(environment)?;
        print_line(format_args!("{}\n", example(&emulator, options)))?;
    }
    // With a fixed address, requests may have arrived before the variables were printed.
    let (so_far, mut journal) = emulator.follow();
    for entry in so_far.entries() {
        log(entry, 0, record.as_mut(), global.quiet)?;
    }
    loop {
        tokio::select! {
            entry = journal.next() => match entry {
                Some(entry) => log(&entry, journal.missed(), record.as_mut(), global.quiet)?,
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

/// Returns the error of an emulator that could not be started. Its message has the address and the
/// next step.
fn not_started(error: symbolon_emulator::Error) -> Error {
    let message = format!("the emulator could not be started: {error}");
    match error {
        symbolon_emulator::Error::Listen { source, .. } => failure::local(message, source),
        _ => Error::new(ErrorKind::Service, "local_error", message),
    }
}

/// Logs one exchange to stderr, unless it is quiet, and to the journal file.
fn log(entry: &JournalEntry, missed: u64, record: Option<&mut File>, is_quiet: bool) -> Result<(), Error> {
    if !is_quiet {
        print_to_stderr(entry);
    }
    let Some(record) = record else { return Ok(()) };
    // After a burst of more than a thousand requests, the line has the number of missed ones.
    let gap = if missed > 0 { format!(",\"missed\":{missed}}}") } else { "}".to_owned() };
    let line = entry.to_json();
    let line = line.strip_suffix('}').unwrap_or(&line);
    writeln!(record, "{line}{gap}").map_err(|error| failure::local("the journal could not be written", error))
}

fn emulator(options: &EmulateOptions) -> EmulatorBuilder {
    let mut emulator = Emulator::builder();
    if options.strict {
        emulator = emulator.strict();
    }
    emulator = options.tenants.iter().fold(emulator, |emulator, tenant| emulator.tenant(tenant));
    emulator = options.clients.iter().fold(emulator, |emulator, client_id| emulator.client(client_id));
    emulator = options.resources.iter().fold(emulator, |emulator, resource| emulator.resource(resource));
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
    let resource = emulator.resources().first().map_or("https://vault.azure.net", String::as_str);
    let resource = printable(resource);
    match options.source {
        Source::Imds => format!("symbolon call {} --resource {resource} --pop", emulator.resource_url()),
        // The other hosts issue no bound tokens.
        _ => format!("symbolon token --resource {resource}"),
    }
}

/// Returns the variables, and beside them all URLs and ids, as one JSON object.
fn json(emulator: &Emulator) -> String {
    let mut object: Map<String, Value> =
        emulator.environment().into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect();
    let mut urls = Map::new();
    urls.insert("metadata_service".to_owned(), emulator.imds_url().into());
    urls.insert("token_service".to_owned(), emulator.token_url().into());
    urls.insert("token_endpoint".to_owned(), emulator.token_endpoint().into());
    urls.insert("resource".to_owned(), emulator.resource_url().into());
    urls.insert("page".to_owned(), emulator.admin_url().into());
    for source in Source::ALL.into_iter().filter(|source| *source != Source::Imds) {
        let endpoint = emulator.environment_of(source).swap_remove(0);
        urls.insert(source.as_str().to_owned(), endpoint.1.into());
    }
    object.insert("urls".to_owned(), urls.into());
    object.insert("tenant_id".to_owned(), emulator.tenant_id().into());
    object.insert("client_id".to_owned(), emulator.client_id().into());
    object.insert("application_id".to_owned(), emulator.application_id().into());
    output::line(&object)
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
