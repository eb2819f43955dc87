//! `symbolon emulate`.

mod home;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use symbolon::{Error, Source};
use symbolon_emulator::{Emulator, EmulatorBuilder, JournalEntry};

use self::home::Home;
use crate::args::EmulateOptions;
use crate::failure;
use crate::output::{Format, table, variables};
use crate::signals::Signals;

pub(crate) async fn run(options: &EmulateOptions, format: Format) -> Result<ExitCode, Error> {
    if !options.listen.ip().is_loopback() || !options.admin.ip().is_loopback() {
        let message = "the emulator listens on loopback only: its tokens are for anybody who asks";
        return Err(failure::request("invalid_usage", message));
    }
    let builder = emulator(options).admin_address(options.admin);
    let builder = match &options.faults {
        Some(file) => with_faults(builder, file)?,
        None => builder,
    };
    let mut record = options.journal.as_deref().map(open).transpose()?;
    // Before there is anything to tidy up.
    let mut signals = Signals::listen()?;
    let emulator = builder.start().await;
    let emulator = emulator.map_err(|error| failure::local("the emulator could not be started", error))?;
    let home = Home::make();
    let home =
        home.map_err(|error| failure::local("there is no place for the emulator's certificate", error))?;
    let ca = emulator.write_ca(home.path());
    let ca = ca.map_err(|error| failure::local("the emulator's certificate could not be written", error))?;
    let environment = emulator.environment_with_ca(&ca);
    let bare = options.print_env || format == Format::Json;
    if !bare {
        anstream::println!("{}\n", describe(&emulator, options));
        anstream::println!("Programs with these variables find it, for example in another terminal:\n");
    }
    anstream::println!("{}", variables(environment, format));
    if bare {
        anstream::eprintln!("page: {}", emulator.admin_url().unwrap_or_default());
    } else {
        anstream::println!("{}\n", example(&emulator, options));
    }
    // Who knew the address beforehand did not wait for it to be printed.
    let (so_far, mut journal) = emulator.follow();
    for entry in so_far.entries() {
        tell(entry, 0, record.as_mut())?;
    }
    loop {
        tokio::select! {
            entry = journal.next() => match entry {
                Some(entry) => tell(&entry, journal.missed(), record.as_mut())?,
                None => return Ok(ExitCode::SUCCESS),
            },
            _ = signals.next() => return Ok(ExitCode::SUCCESS),
        }
    }
}

/// The faults and settings of a file; one line says what is wrong with it.
fn with_faults(builder: EmulatorBuilder, file: &Path) -> Result<EmulatorBuilder, Error> {
    let wrong = |what: String| failure::request("invalid_faults", format!("{}: {what}", file.display()));
    let text = fs::read_to_string(file).map_err(|error| wrong(format!("it could not be read: {error}")))?;
    builder.faults_toml(&text).map_err(|error| wrong(error.to_string()))
}

/// The file for the journal as lines of JSON, to append to.
fn open(file: &Path) -> Result<File, Error> {
    OpenOptions::new().create(true).append(true).open(file).map_err(|error| {
        failure::request(
            "invalid_usage",
            format!("{}: the journal could not be opened: {error}", file.display()),
        )
    })
}

/// One exchange: a line on stderr, and one in the file.
fn tell(entry: &JournalEntry, missed: u64, record: Option<&mut File>) -> Result<(), Error> {
    anstream::eprintln!("{entry}");
    let Some(record) = record else { return Ok(()) };
    // More than a thousand requests at once: those that were not written are at least counted.
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
    let emulator = match options.source {
        Source::Imds => emulator.imds_address(options.listen),
        Source::ServiceFabric => emulator.service_fabric_address(options.listen),
        _ => emulator.hosts_address(options.listen),
    };
    emulator.source(options.source)
}

/// A command that the emulator answers.
fn example(emulator: &Emulator, options: &EmulateOptions) -> String {
    match options.source {
        Source::Imds => {
            format!("symbolon call {} --resource https://vault.azure.net --pop", emulator.resource_url())
        }
        // They give no bound tokens.
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
        ("user-assigned", format!("client id {}", user_assigned.client_id())),
        ("", format!("object id {}", user_assigned.object_id())),
        ("", format!("resource id {}", user_assigned.resource_id())),
    ];
    if options.azure_addresses {
        let address = emulator.imds_url().trim_start_matches("http://");
        rows.push(("for /etc/hosts", format!("{address} {}", Emulator::AZURE_NAMES.join(" "))));
    }
    table(&rows)
}
