//! `symbolon token`.

use std::process::ExitCode;

use futures_util::{StreamExt, stream};
use symbolon::{Env, Error};

use crate::args::GlobalOptions;
use crate::args::token::TokenOptions;
use crate::stdout::print_line;
use crate::{acquire, output};

pub(super) async fn run(
    options: &TokenOptions,
    global: &GlobalOptions,
    env: &Env,
) -> Result<ExitCode, Error> {
    let identity = acquire::identity(&options.acquire, global, env)?;
    let requests =
        (0..options.count).map(|_| acquire::token(&identity, &options.acquire, options.force_refresh));
    let mut tokens = stream::iter(requests).buffered(options.concurrency as usize);
    while let Some(token) = tokens.next().await {
        print_line(output::token(&token?, global.output))?;
    }
    Ok(ExitCode::SUCCESS)
}
