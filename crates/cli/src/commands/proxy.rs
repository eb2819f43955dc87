//! `symbolon proxy`.

mod config;

use std::path::Path;
use std::process::ExitCode;

use serde_json::json;
use symbolon::parts::token::TokenClient;
use symbolon::{
    ClientBuilder, Connections, Context, Env, Error, ErrorKind, HttpCalls, ManagedIdentity,
    ManagedIdentityId, Strength,
};
use symbolon_proxy::{Metrics, Proxy, ProxyRecord, Route, raise_descriptor_limit};
use tokio::task::spawn_blocking;
use url::Url;

use self::config::{RouteIdentity, RouteSpec};
use super::server::{Listeners, MainListener, listeners, status_variable};
use crate::acquire;
use crate::application::{self, ApplicationUse, SettingNames};
use crate::args::GlobalOptions;
use crate::args::application::ApplicationOptions;
use crate::args::proxy::ProxyOptions;
use crate::failure;
use crate::server_log::{ServerLog, Severity};
use crate::service_manager::ServiceManager;
use crate::signals::Signals;
use crate::variables;

/// The variable with the secret.
const SECRET: &str = "SYMBOLON_PROXY_SECRET";

/// The state that is reported to the service manager.
const SERVING: &str = "serving requests";

pub(super) async fn run(
    options: &ProxyOptions,
    global: &GlobalOptions,
    env: &Env,
) -> Result<ExitCode, Error> {
    let manager = ServiceManager::new(env)?;
    manager.supervise(serve(options, global, env, &manager)).await
}

async fn serve(
    options: &ProxyOptions,
    global: &GlobalOptions,
    env: &Env,
    manager: &ServiceManager,
) -> Result<ExitCode, Error> {
    raise_descriptor_limit();
    let log = ServerLog::new(global.output, global.quiet);
    let Listeners { main, status } = listeners("the proxy", &options.server, env).await?;
    let metrics = Metrics::new();
    let mut routes = RouteFactory::new(options, global, env, log, main.is_unix(), metrics.clone())?;
    let (users, first) = routes.load().await?;
    let mut builder = Proxy::builder().metrics(metrics).observer(move |record| log_refusal(log, record));
    if let Some(secret) = variables::stored(&options.server.variables, SECRET)? {
        builder = builder.secret(secret);
    }
    builder = first.into_iter().fold(builder, |builder, route| builder.route(route));
    builder = users.into_iter().fold(builder, |builder, user| builder.allow_user(user));
    let mut signals = Signals::listen()?;
    if let Some(status) = status {
        builder = builder.status_on(status);
    }
    if options.server.open_metrics {
        builder = builder.open_metrics();
    }
    let proxy = match main {
        MainListener::Address(address) => builder.listen(address).await?,
        #[cfg(unix)]
        MainListener::Path(path) => builder.listen_unix(path).await?,
        MainListener::Passed(listener) => builder.listen_on(listener)?,
    };
    variables::publish(&options.server.variables, environment(options, &proxy), global.output)?;
    manager.ready(SERVING).await;
    loop {
        let signal = signals.next().await;
        if !Signals::is_hang_up(&signal) || options.config.is_none() {
            break;
        }
        manager.reloading().await;
        let loaded = routes.load().await;
        let reloaded = loaded.and_then(|(users, routes)| proxy.reload(routes, users));
        match reloaded {
            Ok(()) => log.write(Severity::Info, "routes_reloaded", "the routes were read again", []),
            Err(error) => {
                let message = format!("the routes were not replaced: {error}");
                let code = [("code", json!(error.code()))];
                log.write(Severity::Error, "routes_not_reloaded", &message, code);
            }
        }
        manager.ready(SERVING).await;
    }
    manager.stopping().await;
    log.write(Severity::Info, "stopping", "stopping", []);
    tokio::select! {
        () = proxy.stop() => {}
        () = signals.next_end() => {}
    }
    Ok(ExitCode::SUCCESS)
}

/// Writes the record of a request that got an error of the proxy.
fn log_refusal(log: ServerLog, record: &ProxyRecord) {
    let fields = [
        ("peer", json!(record.peer().to_string())),
        ("status", json!(record.status())),
        ("reason", json!(record.code())),
    ];
    log.write(Severity::Warn, "request_refused", &record.to_string(), fields);
}

/// Returns the variables that describe the proxy.
fn environment(options: &ProxyOptions, proxy: &Proxy) -> Vec<(&'static str, String)> {
    let url = proxy.address().map(|address| ("SYMBOLON_PROXY_URL", format!("http://{address}")));
    let secret = proxy.secret().map(|secret| (SECRET, secret.expose().to_owned()));
    #[cfg(unix)]
    let socket =
        options.server.unix.as_ref().map(|path| ("SYMBOLON_PROXY_SOCKET", path.display().to_string()));
    #[cfg(not(unix))]
    let socket = None;
    [url, secret, socket, status_variable(proxy.status_address())].into_iter().flatten().collect()
}

/// Builds the routes, at the start and when they are read again. Identities and connections stay
/// the same, and with them the tokens.
struct RouteFactory<'a> {
    options: &'a ProxyOptions,
    ca_file: Option<&'a Path>,
    env: &'a Env,
    /// With the observer of the metrics.
    context: Context,
    /// Clients use a Unix socket.
    is_unix: bool,
    connections: Connections,
    /// Without HTTP/2, for requests that switch to another protocol.
    http1_connections: Connections,
    identities: Vec<(ManagedIdentityId, ManagedIdentity)>,
    applications: Vec<(ApplicationOptions, bool, RouteTokens)>,
    log: ServerLog,
}

/// The tokens of a route.
#[derive(Clone)]
enum RouteTokens {
    Managed(ManagedIdentity),
    Application { client: TokenClient, client_id: String },
}

impl RouteTokens {
    /// Returns the name of the identity for operators.
    fn name(&self) -> String {
        match self {
            Self::Managed(identity) => identity.id().qualified(),
            Self::Application { client_id, .. } => format!("application:{client_id}"),
        }
    }

    fn client(&self, resource: &str) -> ClientBuilder {
        match self {
            Self::Managed(identity) => identity.client(resource),
            Self::Application { client, .. } => client.client(resource),
        }
    }
}

impl<'a> RouteFactory<'a> {
    fn new(
        options: &'a ProxyOptions,
        global: &'a GlobalOptions,
        env: &'a Env,
        log: ServerLog,
        is_unix: bool,
        metrics: Metrics,
    ) -> Result<Self, Error> {
        let context = acquire::context(env)?.with_observer(metrics);
        let mistake = match (options.application.is_set(), &options.to, &options.identity) {
            (true, None, _) => {
                Some("an application is for --to; in a file, a route has a table `application`")
            }
            (true, _, Some(_)) => Some("--identity selects a managed identity, but there is an application"),
            _ => None,
        };
        if let Some(mistake) = mistake {
            let advice = "remove the options of the one that is not meant";
            return Err(failure::request("invalid_usage", mistake).with_advice(advice));
        }
        let ca_file = global.ca_file.as_deref();
        Ok(Self {
            options,
            ca_file,
            env,
            is_unix,
            connections: acquire::connections(ca_file, &context, true)?,
            http1_connections: acquire::connections(ca_file, &context, false)?,
            context,
            identities: Vec::new(),
            applications: Vec::new(),
            log,
        })
    }

    /// Returns the users who may use the socket, and the routes, of the options and the file.
    async fn load(&mut self) -> Result<(Vec<u32>, Vec<Route>), Error> {
        let options = self.options;
        let (mut users, file) = match options.config.clone() {
            // A directory of users may respond slowly. Requests are served meanwhile.
            Some(path) => spawn_blocking(move || config::read(&path))
                .await
                .map_err(|_panicked| failure::internal(None))??,
            None => Default::default(),
        };
        #[cfg(unix)]
        {
            users.extend(&options.users);
            if !users.is_empty() && !self.is_unix {
                let message = "`allow_uids` and --allow-uid are for a Unix socket; add --unix";
                return Err(failure::request("invalid_usage", message));
            }
        }
        let of_options = options.to.as_ref().zip(options.resource.as_ref()).map(|(to, resource)| RouteSpec {
            path: "/".to_owned(),
            to: to.to_string(),
            resource: resource.clone(),
            pop: options.pop,
            identity: RouteIdentity::of_options(options.identity.as_ref(), &options.application),
            headers: options.headers.clone(),
            timeout: None,
            place: None,
        });
        let routes = of_options.into_iter().chain(file).map(|spec| {
            self.route(&spec).map_err(|error| match &spec.place {
                Some(place) => error.with_context(place),
                None => error,
            })
        });
        Ok((users, routes.collect::<Result<_, _>>()?))
    }

    fn route(&mut self, spec: &RouteSpec) -> Result<Route, Error> {
        let tokens = match &spec.identity {
            RouteIdentity::Managed(id) => RouteTokens::Managed(self.identity(id.as_ref())?),
            RouteIdentity::Application(options) => self.application(options, spec)?,
        };
        // An address without a host is refused by the route.
        let host = spec.to.parse::<Url>().ok().and_then(|url| Some(url.host_str()?.to_owned()));
        let client = |connections: &Connections| {
            let mut client = tokens
                .client(&spec.resource)
                .connections(connections.clone())
                .allowed_hosts(host.clone())
                .no_read_timeout();
            if spec.pop {
                client = client.proof_of_possession();
            }
            if let Some(timeout) = spec.timeout {
                client = client.deadline(timeout);
            }
            for (name, value) in &spec.headers {
                client = client.header(name, value);
            }
            client.build()
        };
        let route = Route::new(&spec.path, &spec.to, client(&self.connections)?)?;
        Ok(route.identity_name(&tokens.name()).upgrade_client(client(&self.http1_connections)?))
    }

    fn identity(&mut self, chosen: Option<&ManagedIdentityId>) -> Result<ManagedIdentity, Error> {
        let id = chosen.cloned().unwrap_or_else(ManagedIdentityId::system_assigned);
        if let Some((_, identity)) = self.identities.iter().find(|(known, _)| *known == id) {
            return Ok(identity.clone());
        }
        if chosen.is_none() {
            acquire::note_ignored_client_id(self.log, self.env);
        }
        let builder = acquire::builder(&self.options.keys, self.ca_file, self.env, &self.context)?;
        let identity = builder.identity(id.clone()).build()?;
        self.identities.push((id, identity.clone()));
        Ok(identity)
    }

    fn application(&mut self, options: &ApplicationOptions, spec: &RouteSpec) -> Result<RouteTokens, Error> {
        let minimum = self.options.keys.min_strength.strength();
        if let Some(minimum) = minimum.filter(|minimum| spec.pop && *minimum > Strength::Software) {
            let message = format!(
                "the key of an application is in a file, of strength {}, but {minimum} is required",
                Strength::Software
            );
            return Err(Error::new(ErrorKind::Environment, "min_strength_not_met", message)
                .with_advice("lower --min-strength, or use a managed identity with a key in a device"));
        }
        let known = self.applications.iter().find(|(known, pop, _)| known == options && *pop == spec.pop);
        if let Some((.., tokens)) = known {
            return Ok(tokens.clone());
        }
        let usage = ApplicationUse {
            pop: spec.pop,
            over_mtls: false,
            names: if spec.place.is_some() { SettingNames::Keys } else { SettingNames::Options },
            also_missing: None,
            log: self.log,
        };
        let application = application::client(options, &usage, self.ca_file, self.env, &self.context)?;
        let tokens = RouteTokens::Application {
            client: application.builder.build(),
            client_id: application.client_id,
        };
        self.applications.push((options.clone(), spec.pop, tokens.clone()));
        Ok(tokens)
    }
}
