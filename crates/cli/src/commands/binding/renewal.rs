//! `symbolon binding renew`.

use std::time::Duration;

use serde_json::json;
use symbolon::parts::types::SteadyTime;
use symbolon::{Context, Env, Error};
use tokio::sync::Notify;

use super::handover::{Handover, HandoverUpdate};
use super::notifier::Notifier;
use crate::args::GlobalOptions;
use crate::args::binding::RenewOptions;
use crate::output::OutputFormat;
use crate::server_log::{ServerLog, Severity};
use crate::service_manager::ServiceManager;
use crate::signals::Signals;
use crate::stdout::print_line;
use crate::timestamp::Timestamp;
use crate::{acquire, output};

/// The pauses after failures: the first, doubled with each failure, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5 * 60));
/// The shortest pause, if retries are scaled down.
const MIN_PAUSE: Duration = Duration::from_millis(20);
/// The longest wait. Some clocks do not count the time in which a machine is suspended.
const MAX_WAIT: Duration = Duration::from_secs(60);

pub(super) async fn run(options: &RenewOptions, global: &GlobalOptions, env: &Env) -> Result<(), Error> {
    if options.daemon {
        let manager = ServiceManager::new(env)?;
        return manager.supervise(keep_renewed(options, global, env, &manager)).await;
    }
    let notifier = Notifier::new(options, env)?;
    let handover = Handover::new(&options.handover, global, env, ServerLog::text(global.quiet))?;
    let update = handover.write(handover.binding(options.force).await?).await?;
    notifier.notify(update.record.thumbprint()).await?;
    print_line(output::binding(&update.record, Some(update.is_changed), global.output))
}

async fn keep_renewed(
    options: &RenewOptions,
    global: &GlobalOptions,
    env: &Env,
    manager: &ServiceManager,
) -> Result<(), Error> {
    let log = ServerLog::new(global.output, global.quiet);
    let notifier = Notifier::new(options, env)?;
    let mut signals = Signals::listen()?;
    let wake = Notify::new();
    let mut renewal = Renewal {
        handover: Handover::new(&options.handover, global, env, log)?,
        notifier,
        context: acquire::context(env)?,
        format: global.output,
        log,
        manager,
        renew_at: SteadyTime::PAST,
        notify_at: SteadyTime::PAST,
        is_forced: options.force,
        current: None,
        failures: (Failures::default(), Failures::default()),
    };
    let end = async {
        while Signals::is_hang_up(&signals.next().await) {
            wake.notify_one();
        }
    };
    tokio::select! {
        () = renewal.run(&wake) => {}
        () = end => {}
    }
    log.write(Severity::Info, "stopping", "stopping", []);
    Ok(())
}

/// The state of the daemon.
struct Renewal<'a> {
    handover: Handover<'a>,
    notifier: Notifier<'a>,
    context: Context,
    format: OutputFormat,
    log: ServerLog,
    manager: &'a ServiceManager,
    renew_at: SteadyTime,
    notify_at: SteadyTime,
    /// True if the certificate is to be replaced before it is due.
    is_forced: bool,
    current: Option<HandoverUpdate>,
    /// Failed renewals and failed notifications.
    failures: (Failures, Failures),
}

/// The number of failures in succession.
#[derive(Default)]
struct Failures(u32);

impl Failures {
    /// Returns the pause after another failure.
    fn pause(&mut self, scale: f64) -> Duration {
        let pause = PAUSES.0.saturating_mul(2_u32.saturating_pow(self.0)).min(PAUSES.1);
        self.0 = self.0.saturating_add(1);
        pause.mul_f64(scale).max(MIN_PAUSE)
    }
}

impl Renewal<'_> {
    /// Renews and notifies. Never returns.
    async fn run(&mut self, wake: &Notify) {
        loop {
            if self.now() >= self.renew_at {
                self.renew().await;
            }
            if self.now() >= self.notify_at {
                self.notify().await;
            }
            let wait = self.renew_at.min(self.notify_at).since(self.now()).min(MAX_WAIT);
            tokio::select! {
                () = self.context.clock().sleep(wait) => {}
                () = wake.notified() => {
                    self.is_forced = true;
                    self.renew_at = SteadyTime::PAST;
                }
            }
        }
    }

    async fn update(&mut self) -> Result<HandoverUpdate, Error> {
        let binding = self.handover.binding(self.is_forced).await?;
        self.is_forced = false;
        self.handover.write(binding).await
    }

    async fn renew(&mut self) {
        let scale = self.context.retry_scale();
        match self.update().await {
            Ok(update) => {
                let until_renewal = update.binding.time_until_renewal(self.now());
                let wait = if until_renewal.is_zero() {
                    // A stored certificate that is due is used if no other one is issued.
                    self.failures.0.pause(scale)
                } else {
                    self.failures.0 = Failures::default();
                    until_renewal
                };
                self.renew_at = self.now().plus(wait);
                self.notify_at = SteadyTime::PAST;
                let (thumbprint, end) =
                    (update.record.thumbprint().to_string(), Timestamp::from(update.record.usable_until()));
                let due = Timestamp::from(update.binding.renew_at());
                self.manager.ready(&format!("the renewal is due at {due}")).await;
                if update.is_changed {
                    let message = format!(
                        "wrote the certificate {thumbprint}, valid until {end}; the renewal is due at {due}"
                    );
                    let fields = [("x5t#S256", json!(thumbprint)), ("usable_until", json!(end.unix()))];
                    self.log.write(Severity::Info, "certificate_written", &message, fields);
                    // A closed stdout does not end the renewal.
                    let _printed = print_line(output::binding(&update.record, Some(true), self.format));
                }
                self.current = Some(update);
            }
            Err(error) => {
                let pause = self.failures.0.pause(scale);
                self.renew_at = self.now().plus(pause);
                let end = match &self.current {
                    Some(update) => {
                        format!("the current one ends at {}", Timestamp::from(update.record.usable_until()))
                    }
                    None => "there is none yet".to_owned(),
                };
                let problem = format!("the certificate was not renewed ({end})");
                self.log_failure("certificate_not_renewed", &problem, &error, pause);
            }
        }
    }

    async fn notify(&mut self) {
        let Some(update) = &self.current else {
            self.notify_at = SteadyTime::NEVER;
            return;
        };
        match self.notifier.notify(update.record.thumbprint()).await {
            Ok(is_notified) => {
                self.failures.1 = Failures::default();
                self.notify_at = SteadyTime::NEVER;
                if is_notified {
                    let message = "notified the program of the certificate";
                    self.log.write(Severity::Info, "program_notified", message, []);
                }
            }
            Err(error) => {
                let pause = self.failures.1.pause(self.context.retry_scale());
                self.notify_at = self.now().plus(pause);
                self.log_failure("program_not_notified", "the program was not notified", &error, pause);
            }
        }
    }

    /// Writes a failure, which `--quiet` does not hide.
    fn log_failure(&self, event: &str, problem: &str, error: &Error, pause: Duration) {
        let cause = std::error::Error::source(error).map(|cause| format!(" ({cause})")).unwrap_or_default();
        let seconds = (pause.as_secs_f64() * 10.0).round() / 10.0;
        let message = format!("{problem}; retry in {seconds} s: {error}{cause}");
        let fields = [("code", json!(error.code())), ("retry_seconds", json!(seconds))];
        self.log.write(Severity::Error, event, &message, fields);
    }

    fn now(&self) -> SteadyTime {
        self.context.clock().steady_now()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_limit() {
        let mut failures = Failures::default();
        let pauses: Vec<u64> = (0..12).map(|_| failures.pause(1.0).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300, 300]);
        assert_eq!(Failures(u32::MAX).pause(1.0), PAUSES.1);
        assert_eq!(Failures::default().pause(0.0), MIN_PAUSE);
    }
}
