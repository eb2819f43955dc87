//! The Kubernetes manifests.

use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::installed;
use crate::run::{RunResult, skip_without};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/packaging/kubernetes/");
/// The version of the schemas, and their package.
const SCHEMAS: &str = "kubernetes-validate==1.37.0";
/// Runs a program as the user of the containers, who has no name.
const AS_USER: &str = "setpriv --reuid=65532 --regid=65532 --clear-groups --bounding-set=-all --no-new-privs";
/// Validates the documents of files by the schemas of two versions of Kubernetes, without unknown
/// members, and prints the documents.
const VALIDATE: &str = "
import json, sys, yaml, kubernetes_validate
documents = [document for file in sys.argv[1:] for document in yaml.safe_load_all(open(file))]
for version in '1.29', '1.37':
    for document in documents:
        kubernetes_validate.validate(document, version, strict=True)
print(json.dumps(documents))
";

/// Returns the valid documents of files. `None` without the schemas.
fn documents(files: &[String]) -> Option<Vec<Value>> {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("kubernetes-validate");
    let python = home.join("bin/python");
    let runs = |command: &mut Command| {
        let command = command.stdout(Stdio::null()).stderr(Stdio::null());
        command.status().is_ok_and(|status| status.success())
    };
    let has_schemas = || runs(Command::new(&python).args(["-c", "import kubernetes_validate"]));
    if !has_schemas() {
        runs(Command::new("python3").args(["-m", "venv"]).arg(&home));
        runs(Command::new(&python).args(["-m", "pip", "install", "--quiet", "--no-compile", SCHEMAS]));
    }
    if !has_schemas() {
        skip_without("kubernetes-validate, or python3-venv to install it in");
        return None;
    }
    let ran = RunResult::of(Command::new(&python).args(["-c", VALIDATE]).args(files).output().unwrap());
    assert_eq!(ran.code, 0, "{}", ran.stderr);
    Some(serde_json::from_str(&ran.stdout).unwrap())
}

/// The containers of a pod, those that run before the others first.
fn containers(pod: &Value) -> impl Iterator<Item = &Value> {
    ["initContainers", "containers"].into_iter().flat_map(|list| pod[list].as_array().unwrap())
}

#[test]
fn ops_47_kubernetes_manifests() {
    let Some(machine) = installed() else { return };
    machine.run_emulator();
    for name in ["sidecar.yaml", "daemonset.yaml"] {
        let Some(documents) = documents(&[format!("{FOLDER}{name}")]) else { return };
        let of_kind = |kind: &str| documents.iter().find(|document| document["kind"] == kind);
        let config = of_kind("ConfigMap").unwrap()["data"]["proxy.toml"].as_str().unwrap();
        let workload = of_kind("Deployment").or(of_kind("DaemonSet")).unwrap();
        let pod = &workload["spec"]["template"]["spec"];
        assert_eq!(pod["securityContext"]["seccompProfile"], json!({ "type": "RuntimeDefault" }), "{name}");
        for container in containers(pod) {
            let own = &container["securityContext"];
            let setting = |member: &str| match &own[member] {
                Value::Null => &pod["securityContext"][member],
                own => own,
            };
            let is_confined = own["allowPrivilegeEscalation"] == false
                && own["readOnlyRootFilesystem"] == true
                && own["capabilities"]["drop"] == json!(["ALL"]);
            // One prepares a folder of the node, which belongs to root.
            let is_root = container["name"] == "folder";
            assert!(is_confined && (setting("runAsNonRoot") == true) != is_root, "{name}: {container}");
        }

        machine.run(&format!("cat > /etc/symbolon/proxy.toml <<'END'\n{config}\nEND"));
        machine.run("install -d -o 65532 -g 65532 /run/symbolon");
        let run = |container: &Value, before: &str| {
            assert_eq!(container["image"], "symbolon:0.1.0", "{name}");
            let words = container["args"].as_array().unwrap().iter();
            let words =
                words.map(|word| format!("'{}'", word.as_str().unwrap())).collect::<Vec<_>>().join(" ");
            machine.run(&format!("systemd-run --quiet {before} {AS_USER} symbolon {words}"))
        };
        let named = |wanted: &str| containers(pod).find(|container| container["name"] == wanted).unwrap();
        assert!(
            run(named("symbolon-check"), "--pipe --wait").contains("instance metadata service"),
            "{name}"
        );
        let proxy = named("symbolon-proxy");
        run(proxy, "--unit=proxy");
        let port = &proxy["ports"][0]["containerPort"];
        for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
            let path = proxy[probe]["httpGet"]["path"].as_str().unwrap();
            assert_eq!(proxy[probe]["httpGet"]["port"], proxy["ports"][0]["name"], "{name}");
            let url = format!("http://127.0.0.1:{port}{path}");
            machine.wait_for(&format!("curl --silent --fail {url}"));
        }
        let called = machine.run(&format!(
            "{AS_USER} curl --silent --include --unix-socket /run/symbolon/proxy.sock http://vault/secrets/x"
        ));
        // The vault of the manifest does not exist, so that the proxy gets to its name.
        assert!(called.starts_with("HTTP/1.1 503 ") && called.contains("transport_error"), "{called}");
        machine.run("systemctl stop proxy.service");
    }
}
