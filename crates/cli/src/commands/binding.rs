//! `symbolon binding`.

mod handover;
mod notifier;
mod renewal;

use std::process::ExitCode;

use symbolon::parts::binding::stored_bindings;
use symbolon::{Env, Error};

use self::handover::Handover;
use crate::args::GlobalOptions;
use crate::args::binding::{BindingCommand, BindingOptions};
use crate::keys;
use crate::output::{self, OutputFormat, note};
use crate::server_log::ServerLog;
use crate::stdout::print_line;

pub(super) async fn run(
    options: &BindingOptions,
    global: &GlobalOptions,
    env: &Env,
) -> Result<ExitCode, Error> {
    match &options.command {
        BindingCommand::Show => show(global, env)?,
        BindingCommand::Export(options) => {
            let handover = Handover::new(options, global, env, ServerLog::text(global.quiet))?;
            let update = handover.write(handover.binding(false).await?).await?;
            print_line(output::binding(&update.record, Some(update.is_changed), global.output))?;
        }
        BindingCommand::Renew(options) => renewal::run(options, global, env).await?,
    }
    Ok(ExitCode::SUCCESS)
}

fn show(global: &GlobalOptions, env: &Env) -> Result<(), Error> {
    let folder = keys::state_folder(env)?;
    let mut count = 0;
    for record in stored_bindings(&folder)? {
        match record {
            Ok(record) => {
                if count > 0 && global.output == OutputFormat::Text {
                    print_line("")?;
                }
                print_line(output::binding(&record, None, global.output))?;
                count += 1;
            }
            Err(error) => note(global.quiet, error),
        }
    }
    if count == 0 {
        let text = format_args!(
            "no binding is stored in {}; --persist-binding and `symbolon binding export` store one",
            folder.display()
        )
        .to_string();
        note(global.quiet, symbolon::parts::types::printable(&text));
    }
    Ok(())
}
