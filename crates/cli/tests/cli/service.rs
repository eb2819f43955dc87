//! `serve` and `proxy` as services: endpoints for operators, logs, ends and starts.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use symbolon_emulator::Step;

use crate::run::{RunResult, TestEnv, signal, skip_without};
use crate::running::{
    RESOURCE, RunningCommand, RunningServer, assert_no_request_is_lost, connect_tcp, free_address, get,
    get_checked, is_ready, proxy, serve,
};

#[test]
fn srv_01_status_address() {
    let env = TestEnv::new();
    let status = ["--status", "127.0.0.1:0"];
    for command in [serve(&env, &status), proxy(&env, &status)] {
        let server = RunningServer::start(command);
        for path in ["/livez", "/.symbolon/livez"] {
            assert_eq!(get(server.status_address(), path, "").0, 200, "{path}");
        }
        get_checked(server.status_address(), "/readyz", "", is_ready);
        assert_eq!(get(server.status_address(), "/", "").0, 404);
    }
}

#[test]
fn srv_01_address_of_another_machine() {
    let env = TestEnv::new();
    // A documentation address (RFC 5737 §3).
    for mut command in [serve(&env, &["--status", "192.0.2.1:0"]), proxy(&env, &["--status", "192.0.2.1:0"])]
    {
        let ran = RunResult::of(command.output().unwrap());
        let message = ran.error()["message"].as_str().unwrap().to_owned();
        assert_eq!((ran.code, ran.error()["code"].as_str()), (1, Some("local_error")), "{message}");
        assert!(
            message.ends_with("cannot listen on 192.0.2.1:0; use an address of this machine"),
            "{message}"
        );
    }
}

#[test]
fn srv_02_readiness() {
    let env = TestEnv::new();
    let serving = RunningServer::serve(&env, &["--allow", RESOURCE, "--allow", "https://unknown.example"]);
    let secret = format!("X-IDENTITY-HEADER: {}\r\n", serving.variable("IDENTITY_HEADER"));
    let (status, body) = get_checked(serving.agent_address(), "/readyz", &secret, is_ready);
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((status, body["ready"].as_array().map(Vec::len)), (200, Some(2)), "{body}");
    assert_eq!(env.emulator.journal().count(Step::ImdsToken), 2);
    assert_eq!(get(serving.agent_address(), "/readyz", "").1, r#"{"status":"ok"}"#);
    assert_eq!(env.emulator.journal().count(Step::ImdsToken), 2, "the tokens are cached");
    let missing = TestEnv::new();
    missing.emulator.inject(symbolon_emulator::Fault::status(Step::ImdsToken, 400).always());
    let serving = RunningServer::serve(&missing, &["--allow", RESOURCE]);
    let secret = format!("X-IDENTITY-HEADER: {}\r\n", serving.variable("IDENTITY_HEADER"));
    let is_checked = |_: u16, body: &str| !body.contains("pending");
    let (status, body) = get_checked(serving.agent_address(), "/readyz", &secret, is_checked);
    let body: Value = serde_json::from_str(&body).unwrap();
    let item = &body["not_ready"][0];
    assert_eq!((status, item["resource"].as_str()), (503, Some(RESOURCE)), "{body}");
    assert_eq!(item["identity"], "system");
    assert_eq!(item["code"], "managed_identity_request_failed");
}

#[test]
fn srv_03_readers_without_the_secret() {
    let env = TestEnv::new();
    for (arguments, metrics) in [(&[][..], 401), (&["--open-metrics"], 200)] {
        let arguments = [&["--status", "127.0.0.1:0"], arguments].concat();
        for command in [serve(&env, &arguments), proxy(&env, &arguments)] {
            let server = RunningServer::start(command);
            let address = server.status_address();
            assert_eq!(get(address, "/livez", "").1, r#"{"status":"ok"}"#);
            assert_eq!(get(address, "/metrics", "").0, metrics);
            assert_eq!(get(address, "/metrics", "Authorization: Bearer guessed\r\n").0, metrics);
            let secret = ["IDENTITY_HEADER", "SYMBOLON_PROXY_SECRET"]
                .iter()
                .find_map(|name| server.variables[name].as_str())
                .unwrap();
            let (status, text) = get(address, "/metrics", &format!("Authorization: Bearer {secret}\r\n"));
            assert_eq!(status, 200);
            assert!(!text.contains(secret) && !text.contains("eyJ"), "{text}");
        }
    }
}

#[test]
fn srv_04_reserved_paths_of_the_listener() {
    let env = TestEnv::new();
    let proxy = RunningServer::start(proxy(&env, &[]));
    let address = proxy.variable("SYMBOLON_PROXY_URL").strip_prefix("http://").unwrap();
    get_checked(address, "/.symbolon/readyz", "", is_ready);
    let secret = format!("X-Symbolon-Secret: {}\r\n", proxy.variable("SYMBOLON_PROXY_SECRET"));
    assert_eq!(env.emulator.journal().count(Step::Resource), 0);
    assert_eq!(get(address, "/livez", &secret).0, 200);
    assert_eq!(env.emulator.journal().last(Step::Resource).unwrap().target, "/livez");
    let serving = RunningServer::serve(&env, &[]);
    for path in ["/livez", "/readyz", "/.symbolon/livez", "/.symbolon/readyz"] {
        assert_eq!(get(serving.agent_address(), path, "").0, 200, "{path}");
    }
}

#[test]
fn srv_05_log_as_json() {
    let env = TestEnv::new();
    let serving = RunningServer::start({
        let mut command = serve(&env, &[]);
        command.env("RUST_LOG", "symbolon_hyper=debug,symbolon_token=debug").env("AZURE_CLIENT_ID", "x");
        command
    });
    let request = serving.token_request("Connection: close\r\n");
    let mut stream = TcpStream::connect(serving.agent_address()).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    stream.read_to_string(&mut String::new()).unwrap();
    assert_eq!(get(serving.agent_address(), "/msi/token", "").0, 401);
    let (code, log) = serving.stop(Signal::TERM);
    assert_eq!(code, Some(0), "{log}");
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}")))
        .collect();
    for line in &lines {
        for name in ["time", "level", "event", "message"] {
            assert!(line[name].is_string(), "{line}");
        }
        assert!(line["time"].as_str().unwrap().ends_with('Z'), "{line}");
    }
    let of = |event: &str| {
        let found = lines.iter().find(|line| line["event"] == event);
        found.unwrap_or_else(|| panic!("{event}: {log}"))
    };
    let served = of("request_served");
    assert_eq!((&served["resource"], &served["origin"]), (&RESOURCE.into(), &"network".into()));
    assert_eq!((&served["status"], &served["level"]), (&200.into(), &"info".into()));
    assert!(served["next_refresh_seconds"].as_u64().unwrap() > 0, "{served}");
    assert!(served["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{served}");
    let refused = of("request_refused");
    assert_eq!((&refused["status"], &refused["reason"]), (&401.into(), &"secret".into()));
    assert_eq!(of("all_resources_allowed")["level"], "warn");
    assert_eq!(of("client_id_ignored")["level"], "warn");
    assert_eq!(of("stopping")["level"], "info");
    let log_event = of("log");
    assert!(log_event["target"].as_str().unwrap().starts_with("symbolon_"), "{log_event}");
    assert!(log_event["fields"].is_object(), "{log_event}");
    assert!(!log.contains("eyJ"), "{log}");
}

#[test]
fn srv_05_errors_as_json() {
    let env = TestEnv::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("routes.toml");
    let config = ["--config", path.to_str().unwrap()];
    let mut command = env.symbolon();
    let ran = command.args(["proxy", "--output", "json"]).args(config).output().unwrap();
    let log = String::from_utf8(ran.stderr).unwrap();
    assert_eq!(ran.status.code(), Some(2), "{log}");
    let error: Value = serde_json::from_str(log.lines().last().unwrap()).unwrap();
    assert_eq!(error["error"]["code"], "invalid_usage");
    let to = env.emulator.resource_url();
    std::fs::write(&path, format!("[[routes]]\nto = \"{to}\"\nresource = \"{RESOURCE}\"\n")).unwrap();
    let mut command = env.symbolon();
    command.args(["proxy", "--output", "json"]).args(config);
    let mut server = RunningServer::start(command);
    std::fs::write(&path, "broken").unwrap();
    signal(&server.command.0, Signal::HUP);
    let mut line = String::new();
    BufReader::new(server.command.0.stderr.as_mut().unwrap()).read_line(&mut line).unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!((&line["event"], &line["level"]), (&"routes_not_reloaded".into(), &"error".into()));
    assert_eq!(line["code"], "invalid_usage");
}

#[test]
fn srv_09_signal_loses_no_request() {
    let env = TestEnv::new();
    let serving = RunningServer::serve(&env, &[]);
    let (address, request) = (serving.agent_address().to_owned(), serving.token_request(""));
    assert_no_request_is_lost(&address, &request, || serving.stop(Signal::TERM));
}

#[test]
fn srv_10_killed_server_starts_again() {
    let env = TestEnv::new();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("agent.sock");
    let unix = ["--unix", path.to_str().unwrap()];
    let entries = || std::fs::read_dir(folder.path()).unwrap().count();
    let listens = || UnixStream::connect(&path).is_ok();
    // The steps of a start at which it is killed. The second one can be too short to be seen.
    let is_reached: [&dyn Fn(usize) -> bool; 3] =
        [&|_| true, &|before| entries() > before || listens(), &|_| listens()];
    for commands in [serve, proxy] {
        for reached in is_reached {
            for _ in 0..3 {
                let before = entries();
                let mut command = commands(&env, &unix);
                let mut child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
                while !reached(before) {
                    assert_eq!(child.try_wait().unwrap(), None, "it ended");
                }
                child.kill().unwrap();
                child.wait().unwrap();
            }
            let server = RunningServer::start(commands(&env, &unix));
            UnixStream::connect(&path).unwrap();
            drop(server);
        }
    }
    // With a request under way, at an address.
    let serving = RunningServer::serve(&env, &[]);
    let address = serving.agent_address().to_owned();
    env.emulator.inject(symbolon_emulator::Fault::stall(Step::ImdsToken).once());
    let mut stream = TcpStream::connect(&address).unwrap();
    stream.write_all(serving.token_request("").as_bytes()).unwrap();
    while env.emulator.journal().count(Step::ImdsToken) == 0 {
        std::thread::yield_now();
    }
    drop(serving);
    let again = RunningServer::serve(&env, &["--listen", &address]);
    assert_eq!(get(again.agent_address(), "/livez", "").0, 200);
    drop(stream);
}

/// Starts a proxy with bound tokens and an agent, and uses each once.
fn used_servers(env: &TestEnv) -> [RunningServer; 2] {
    let status = ["--status", "127.0.0.1:0"];
    let proxy = RunningServer::start(proxy(env, &["--status", "127.0.0.1:0", "--pop"]));
    let address = proxy.variable("SYMBOLON_PROXY_URL").strip_prefix("http://").unwrap();
    let secret = format!("X-Symbolon-Secret: {}\r\n", proxy.variable("SYMBOLON_PROXY_SECRET"));
    for _ in 0..2 {
        assert_eq!(get(address, "/", &secret).0, 200);
    }
    let serving = RunningServer::serve(env, &[&status[..], &["--allow", RESOURCE]].concat());
    let mut stream = TcpStream::connect(serving.agent_address()).unwrap();
    stream.write_all(serving.token_request("Connection: close\r\n").as_bytes()).unwrap();
    stream.read_to_string(&mut String::new()).unwrap();
    [proxy, serving]
}

fn bearer(server: &RunningServer) -> String {
    let secret = ["IDENTITY_HEADER", "SYMBOLON_PROXY_SECRET"];
    secret.iter().find_map(|name| server.variables[name].as_str()).unwrap().to_owned()
}

#[test]
fn srv_11_metrics() {
    let env = TestEnv::new();
    for server in used_servers(&env) {
        let secret = format!("Authorization: Bearer {}\r\n", bearer(&server));
        let (status, text) = get(server.status_address(), "/metrics", &secret);
        assert_eq!(status, 200);
        let is_proxy = server.variables["SYMBOLON_PROXY_URL"].is_string();
        let bound = format!("bound=\"{is_proxy}\"");
        let mut expected = vec![
            format!("symbolon_token_requests_total{{{bound},origin=\"network\",error=\"\"}} 1\n"),
            format!("symbolon_token_cache_hits_total{{{bound},level=\"memory\"}} "),
            format!("symbolon_token_fetches_total{{{bound},reason=\"missing\",error=\"\"}} 1\n"),
            "symbolon_token_fetch_duration_seconds_count 1\n".to_owned(),
            format!("symbolon_ready{{identity=\"system\",resource=\"{RESOURCE}\"}} 1\n"),
            format!("symbolon_token_expires_in_seconds{{identity=\"system\",resource=\"{RESOURCE}\"}} "),
            "symbolon_requests_total{status=\"200\"} ".to_owned(),
        ];
        if is_proxy {
            expected.push("symbolon_mints_total{renewal=\"false\",error=\"\"} 1\n".to_owned());
            expected.push("symbolon_handshakes_total{certificate=\"true\",version=\"1.3\",".to_owned());
        }
        for line in &expected {
            assert!(text.contains(line), "{line}: {text}");
        }
        assert!(!text.contains(&bearer(&server)) && !text.contains("eyJ"), "{text}");
        let promtool = Command::new("promtool")
            .args(["check", "metrics"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let Ok(mut promtool) = promtool else { return skip_without("promtool") };
        promtool.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
        let ran = promtool.wait_with_output().unwrap();
        let said = [ran.stdout, ran.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
        assert!(ran.status.success() && said.trim().is_empty(), "{said}{text}");
    }
}

#[test]
fn srv_12_scraped_by_prometheus() {
    let env = TestEnv::new();
    let servers = used_servers(&env);
    let folder = tempfile::tempdir().unwrap();
    let mut config = "global: { scrape_interval: 100ms }\nscrape_configs:\n".to_owned();
    for (name, server) in ["proxy", "agent"].iter().zip(&servers) {
        let file = folder.path().join(name);
        std::fs::write(&file, bearer(server)).unwrap();
        let (target, file) = (server.status_address(), file.display());
        config += &format!(
            "- job_name: {name}\n  authorization: {{ credentials_file: {file} }}\n  static_configs: [{{ targets: ['{target}'] }}]\n"
        );
    }
    std::fs::write(folder.path().join("prometheus.yml"), config).unwrap();
    let address = free_address().to_string();
    let mut prometheus = Command::new("prometheus");
    prometheus.arg(format!("--config.file={}", folder.path().join("prometheus.yml").display()));
    prometheus.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
    prometheus.arg(format!("--web.listen-address={address}")).arg("--log.level=error");
    let Ok(child) = prometheus.stdout(Stdio::null()).stderr(Stdio::null()).spawn() else {
        return skip_without("prometheus");
    };
    let mut prometheus = RunningCommand(child);
    drop(connect_tcp(address.parse().unwrap(), &mut prometheus.0));
    let query = "/api/v1/query?query=symbolon_token_requests_total%7Borigin%3D%22network%22%7D";
    let jobs = loop {
        assert_eq!(prometheus.0.try_wait().unwrap(), None, "prometheus ended");
        let (status, body) = get(&address, query, "");
        if status == 200 {
            let body: Value = serde_json::from_str(&body).unwrap();
            let mut found: Vec<String> = body["data"]["result"]
                .as_array()
                .unwrap()
                .iter()
                .map(|sample| format!("{} {}", sample["metric"]["job"], sample["value"][1]))
                .collect();
            found.sort();
            if found.len() == 2 {
                break found;
            }
        }
        // Prometheus needs some seconds before it scrapes.
        std::thread::park_timeout(Duration::from_millis(50));
    };
    assert_eq!(jobs, [r#""agent" "1""#, r#""proxy" "1""#]);
}
