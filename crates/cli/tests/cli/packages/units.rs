//! The units under systemd.

use super::{installed, output};

/// The highest exposure that `systemd-analyze security` may report, of 10.
const MAX_EXPOSURE: f64 = 1.5;
#[test]
fn ops_41_installed_files_are_found() {
    let Some(machine) = installed() else { return };
    assert_eq!(machine.run("cd /; symbolon --version"), "symbolon 0.1.0\n");
    assert!(machine.run("MANPAGER=cat man symbolon-proxy").contains("--allow-uid"));
    let complete =
        "shopt -u progcomp_alias; . /usr/share/bash-completion/completions/symbolon; complete -p symbolon";
    assert!(machine.run(&format!("bash -c '{complete}'")).contains("_symbolon"));
    machine.run("zsh -c 'autoload -Uz compinit; compinit -u -d /tmp/dump; (( $+_comps[symbolon] ))'");
    let fish = machine.run("fish -c \"complete --do-complete 'symbolon prox'\"");
    assert!(fish.starts_with("proxy"), "{fish}");
    let units = machine.run("systemctl list-unit-files --no-legend 'symbolon*'");
    // `indirect`: enabled by its socket.
    let states = units.lines().map(|line| line.split_whitespace().nth(1).unwrap());
    assert_eq!(states.filter(|state| ["disabled", "indirect"].contains(state)).count(), 4, "{units}");
    assert_eq!(machine.run("systemctl list-units --all --no-legend 'symbolon*'"), "");
    assert_eq!(machine.run("stat -c '%a %U %G' /etc/symbolon/proxy"), "750 root _symbolon\n");

    let verify = "cd /usr/lib/systemd/system; touch /etc/symbolon/proxy/x.toml
        systemd-analyze verify --man=yes symbolon-agent.* symbolon-proxy@x.service symbolon-proxy@x.socket 2>&1";
    assert_eq!(machine.run(verify), "");
}

#[test]
fn ops_42_units_are_confined() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/systemd/");
    for unit in ["symbolon-agent.service", "symbolon-proxy@.service"] {
        let file = format!("{folder}{unit}");
        let threshold = format!("--threshold={}", MAX_EXPOSURE * 10.0);
        let arguments = ["security", "--offline=true", "--no-pager", &threshold, &file];
        let Some(ran) = output("systemd-analyze", &arguments) else { return };
        assert!(ran.code == 0 && ran.stdout.contains("Overall exposure"), "{}{}", ran.stdout, ran.stderr);
    }
}

#[test]
fn ops_43_agent_starts_at_first_request() {
    let Some(machine) = installed() else { return };
    machine.run_emulator();
    machine.run("systemctl enable --now symbolon-agent.socket");
    let state = |unit: &str| machine.sh(&format!("systemctl is-active {unit}")).stdout.trim().to_owned();
    assert_eq!(
        (state("symbolon-agent.socket").as_str(), state("symbolon-agent.service").as_str()),
        ("active", "inactive")
    );
    let livez = "bash -c 'exec 3<>/dev/tcp/127.0.0.1/27342
        printf \"GET /livez HTTP/1.1\\r\\nHost: 127.0.0.1:27342\\r\\nConnection: close\\r\\n\\r\\n\" >&3; cat <&3'";
    assert!(machine.run(livez).starts_with("HTTP/1.1 200 "), "the first request starts the agent");
    assert_eq!(state("symbolon-agent.service"), "active");
    let file = "/run/symbolon-agent/agent.env";
    assert_eq!(machine.run(&format!("stat -c '%a %U %G' {file}")), "640 _symbolon _symbolon\n");
    assert!(
        machine.run(&format!("cat {file}")).contains("IDENTITY_ENDPOINT=http://127.0.0.1:27342/msi/token\n")
    );

    let client = format!(
        "systemd-run --quiet --wait --pipe --property=EnvironmentFile={file} --property=User=daemon \
         symbolon token --output json --resource https://vault.azure.net"
    );
    let token = machine.run(&client);
    assert!(token.contains(r#""token_type":"Bearer""#), "{token}");
    let refused = machine.sh(&client.replace("vault.azure.net", "graph.microsoft.com"));
    assert!(refused.code == 1 && refused.stderr.contains("--allow"), "{}", refused.stderr);

    let secret = || machine.run(&format!("cat {file}"));
    let process = || machine.run("systemctl show --value --property=MainPID symbolon-agent.service");
    let (first, before) = (secret(), process());
    machine.run("systemctl restart symbolon-agent.service");
    assert!(process() != before && secret() == first);
    let before = process();
    machine.run("systemctl kill --signal=KILL symbolon-agent.service");
    machine.wait_for(&format!(
        "systemctl is-active --quiet symbolon-agent.service
        [ $(systemctl show --value --property=MainPID symbolon-agent.service) != {} ]",
        before.trim()
    ));
    assert_eq!(secret(), first);
    let before = process();
    machine.run("dpkg --install /symbolon.deb");
    assert!(process() != before && secret() == first);
    machine.run(&client);
    machine.run("systemctl stop symbolon-agent.service; systemctl start symbolon-agent.service");
    assert_ne!(secret(), first);
    let log = machine.run("journalctl --unit=symbolon-agent.service --output=cat --no-pager");
    assert!(log.contains("https://vault.azure.net") && !log.contains("eyJ"), "{log}");
    let secrets = [first, secret()];
    for line in
        secrets.iter().flat_map(|text| text.lines().filter_map(|line| line.strip_prefix("IDENTITY_HEADER=")))
    {
        assert!(!log.contains(line), "{log}");
    }
}

#[test]
fn ops_44_proxy_compares_users() {
    let Some(machine) = installed() else { return };
    let resource = machine.run_emulator();
    machine.run(&format!(
        r#"sed -e "s|https://contoso.vault.azure.net|{resource}|" -e "s/1000/$(id -u daemon)/" \
            /usr/share/doc/symbolon/examples/proxy.toml > /etc/symbolon/proxy/vault.toml
        systemctl enable --now symbolon-proxy@vault.socket"#
    ));
    let call = |user: &str| {
        machine.sh(&format!(
            "setpriv --reuid={user} --regid=daemon --clear-groups \
             curl --silent --show-error --write-out '%{{http_code}}' --unix-socket /run/symbolon-proxy/vault.sock http://vault/path"
        ))
    };
    let bound = call("daemon");
    assert!(bound.stdout.contains(r#""scheme":"mtls_pop""#) && bound.stdout.ends_with("200"), "{bound:?}");
    let other = call("bin");
    assert!(other.stdout.contains("proxy_user_not_allowed") && other.stdout.ends_with("403"), "{other:?}");
    machine.run(
        "sed -i \"s/allow_uids = .*/allow_uids = [$(id -u bin)]/\" /etc/symbolon/proxy/vault.toml
        systemctl reload symbolon-proxy@vault.service",
    );
    let log = "journalctl --unit=symbolon-proxy@vault.service --output=cat --no-pager";
    machine.wait_for(&format!("{log} | grep 'read again'"));
    assert!(call("bin").stdout.ends_with("200") && call("daemon").stdout.ends_with("403"));
    machine.run("systemctl restart symbolon-proxy@vault.service");
    assert!(call("bin").stdout.ends_with("200"), "the binding is kept");
    assert_eq!(machine.run("stat -c '%a %U' /var/lib/symbolon"), "700 _symbolon\n");
    // A mistake in the file, until it is corrected.
    let socket =
        "curl --silent --fail --unix-socket /run/symbolon-proxy/other.sock http://vault/.symbolon/livez";
    machine.run("echo 'allow_uids = [x]' > /etc/symbolon/proxy/other.toml; systemctl start symbolon-proxy@other.socket");
    assert!(machine.sh(socket).code != 0);
    assert!(
        machine
            .run("journalctl --unit=symbolon-proxy@other.service --no-pager")
            .contains("line 1, column 15")
    );
    machine.run(
        "cp /etc/symbolon/proxy/vault.toml /etc/symbolon/proxy/other.toml
        systemctl reset-failed 'symbolon-*'; systemctl restart symbolon-proxy@other.socket",
    );
    machine.run(socket);
    let absent = machine.sh("systemctl start symbolon-proxy@absent.service 2>&1");
    assert!(absent.code != 0, "{absent:?}");
}

#[test]
fn ops_45_removal_and_purge() {
    let Some(machine) = installed() else { return };
    machine.run(
        "systemctl enable --now symbolon-agent.socket symbolon-proxy@x.socket
        touch /etc/symbolon/proxy/x.toml /var/lib/symbolon-other; install -d -o _symbolon /var/lib/symbolon
        touch /var/lib/symbolon/key; dpkg --remove symbolon",
    );
    assert_eq!(machine.sh("systemctl is-active symbolon-agent.socket").stdout, "inactive\n");
    assert_eq!(machine.sh("systemctl is-active symbolon-proxy@x.socket").stdout, "inactive\n");
    machine
        .run("test -e /etc/symbolon/agent.conf; test -e /var/lib/symbolon/key; test ! -e /usr/bin/symbolon");
    machine.run("dpkg --purge symbolon");
    let left = machine.run(
        "find /etc /opt /srv /usr /var -xdev -newer /symbolon.deb -name '*symbolon*' \
         -not -path '/var/lib/dpkg/*'",
    );
    assert_eq!(left, "/var/lib/symbolon-other\n");
    machine.run(
        "getent passwd _symbolon; test -e /var/lib/symbolon-other; ! systemctl cat symbolon-agent.socket",
    );
    assert_eq!(machine.run("systemctl list-units --failed --no-legend"), "");
}
