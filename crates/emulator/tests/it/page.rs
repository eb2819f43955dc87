//! Tests of the admin page in Chromium, driven by chromedriver over WebDriver (JSON over HTTP).

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64ct::{Base64, Encoding};
use http::Request;
use serde_json::{Value, json};
use symbolon_emulator::{Emulator, Fault, Step};
use symbolon_types::Env;
use tempfile::TempDir;

use crate::client::{Client, get};
use crate::csr::Key;
use crate::fixtures::{bound_request, bound_token, certified};

/// The JSON key of an element reference (WebDriver §12).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser window.
struct Browser {
    driver: Child,
    session: String,
    client: Client,
    _profile: TempDir,
}

impl Browser {
    /// Opens a window, or returns `None` without Chromium.
    async fn open(emulator: &Emulator) -> Option<Self> {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null());
        let Ok(mut driver) = command.spawn() else {
            assert!(Env::process().var("CI").is_none(), "missing: chromium and chromium-driver");
            println!("skipped: the page needs chromium and chromedriver (chromium-driver)");
            return None;
        };
        let mut output = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = output.find_map(|line| {
            let line = line.unwrap();
            let (_, port) = line.split_once("started successfully on port ")?;
            Some(port.trim_end_matches('.').to_owned())
        });
        // Keeps the pipe from filling up, which would block the driver.
        std::thread::spawn(move || output.for_each(drop));
        let profile = tempfile::tempdir().unwrap();
        let arguments = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
        ];
        let mut arguments: Vec<String> = arguments.map(str::to_owned).into();
        arguments.push(format!("--user-data-dir={}", profile.path().display()));
        let mut browser = Self {
            driver,
            session: format!("http://127.0.0.1:{}/session", port.unwrap()),
            client: Client::new(emulator, None),
            _profile: profile,
        };
        let options = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let opened = browser.send("", options).await;
        let id = opened["sessionId"].as_str().unwrap().to_owned();
        println!("{} {}", opened["capabilities"]["browserName"], opened["capabilities"]["browserVersion"]);
        browser.session += &format!("/{id}");
        Some(browser)
    }

    async fn send(&self, path: &str, body: Value) -> Value {
        let request = Request::post(format!("{}{path}", self.session))
            .header("content-type", "application/json")
            .body(body.to_string())
            .unwrap();
        let answer = self.client.send(request).await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.json());
        answer.json()["value"].clone()
    }

    async fn script(&self, script: &str) -> Value {
        self.send("/execute/sync", json!({ "script": script, "args": [] })).await
    }

    async fn element(&self, css: &str) -> String {
        let found = self.send("/element", json!({ "using": "css selector", "value": css })).await;
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    async fn click(&self, css: &str) {
        let element = self.element(css).await;
        self.send(&format!("/element/{element}/click"), json!({})).await;
    }

    async fn write(&self, css: &str, text: &str) {
        let element = self.element(css).await;
        self.send(&format!("/element/{element}/clear"), json!({})).await;
        self.send(&format!("/element/{element}/value"), json!({ "text": text })).await;
    }

    /// Waits until a script returns true.
    async fn until(&self, script: &str) {
        for _ in 0..500 {
            if self.script(script).await == true {
                return;
            }
            let pause = "setTimeout(arguments[0], 20)";
            self.send("/execute/async", json!({ "script": pause, "args": [] })).await;
        }
        panic!("timed out: {script}\n{}", self.script("return document.body.innerText").await);
    }

    /// Resizes the window, writes a screenshot, and returns true if nothing overflows horizontally.
    async fn screenshot(&self, width: u32, height: u32, file: &Path) -> bool {
        // Headless Chromium limits windows to 500 px, but not the emulated device.
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        let command = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": metrics });
        self.send("/goog/cdp/execute", command).await;
        self.until(&format!("scrollTo(0, 0); return innerWidth === {width} && scrollY === 0")).await;
        let png = self.client.send(get(&format!("{}/screenshot", self.session))).await.unwrap().json();
        std::fs::write(file, Base64::decode_vec(png["value"].as_str().unwrap()).unwrap()).unwrap();
        let fits = "return document.documentElement.scrollWidth <= innerWidth";
        self.script(fits).await == true
    }

    /// Returns the errors in the browser log.
    async fn log_errors(&self) -> Vec<String> {
        let log = self.send("/se/log", json!({ "type": "browser" })).await;
        let messages = log.as_array().unwrap().iter();
        // One step of the test causes a 400.
        messages
            .map(|entry| entry["message"].as_str().unwrap().to_owned())
            .filter(|message| !message.contains("status of 400"))
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let address = self.session.trim_start_matches("http://").split('/').next().unwrap().to_owned();
        let path = &self.session[self.session.find("/session").unwrap()..];
        // Deleting the session closes the browser; killing the driver would leave it running.
        if let Ok(mut stream) = std::net::TcpStream::connect(&address) {
            use std::io::{Read, Write};
            let head = format!("DELETE {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
            let _bounded = stream.set_read_timeout(Some(std::time::Duration::from_secs(10)));
            let _sent = stream.write_all(head.as_bytes());
            // The response arrives once the browser is closed.
            let _answered = stream.read(&mut [0; 512]);
        }
        let _ended = self.driver.kill();
        let _reaped = self.driver.wait();
    }
}

/// Returns the folder for screenshots, below the build folder.
fn screenshots() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[tokio::test]
async fn fault_is_injected_from_a_browser() {
    let address = "127.0.0.1:0".parse().unwrap();
    let emulator = Emulator::builder().admin_address(address).start().await.unwrap();
    let Some(browser) = Browser::open(&emulator).await else { return };
    browser.send("/url", json!({ "url": emulator.admin_url().unwrap() })).await;
    browser.until("return document.getElementById('live').textContent === 'live'").await;

    // An invalid fault shows an error.
    browser.write("#toml", "[[fault]]\nkind = \"rset\"\n").await;
    browser.click("#on").await;
    browser
        .until("return document.getElementById('problem').textContent.startsWith('line 2, column 8: unknown variant `rset`')")
        .await;
    assert_eq!(browser.script("return document.querySelectorAll('.fault').length").await, 0);

    // The example of a kind.
    browser.script("const kind = document.getElementById('kind'); kind.value = 'oauth-error'; kind.dispatchEvent(new Event('change'))").await;
    browser.click("#on").await;
    browser.until("return document.querySelectorAll('.fault').length === 1").await;
    assert_eq!(browser.script("return document.getElementById('problem').textContent").await, "");

    let identity = certified(&emulator, &Key::p256()).await;
    let client = Client::new(&emulator, Some(&identity));
    assert_eq!(client.send(bound_request(&emulator)).await.unwrap().status, 401);
    browser.until("return document.querySelectorAll('.request').length === 3").await;
    let last = "return document.querySelector('.request:last-child .row').innerText";
    let shown = browser.script(last).await;
    let shown = shown.as_str().unwrap();
    assert!(["token", "401", "oauth-error"].iter().all(|word| shown.contains(word)), "{shown}");
    // The fault applies to one request.
    browser.until("return document.querySelectorAll('.fault').length === 0").await;

    // A fault is removed before it applies.
    browser.write("#toml", "[[fault]]\nkind = \"reset\"\nstep = \"token\"\ntimes = \"always\"\n").await;
    browser.click("#on").await;
    browser.until("return document.querySelectorAll('.fault').length === 1").await;
    // A replaced fault that looks the same has a button with its own id.
    emulator.clear_faults();
    emulator.inject(Fault::reset(Step::Token).always());
    browser.until("return refresh().then(() => true)").await;
    browser.click(".fault button").await;
    browser.until("return document.querySelectorAll('.fault').length === 0").await;
    bound_token(&emulator, &identity).await.unwrap();
    browser.until("return document.querySelectorAll('.token').length === 1").await;
    browser.click(".token summary").await;
    let claims = browser.script("return document.querySelector('.token pre').innerText").await;
    let claims: Value = serde_json::from_str(claims.as_str().unwrap()).unwrap();
    assert_eq!(claims["cnf"]["x5t#S256"], identity.thumbprint().to_string());

    // The button revokes a certificate.
    browser.click("#certificates button").await;
    browser.until("return document.getElementById('certificates').innerText.includes('revoked')").await;
    assert_eq!(client.send(bound_request(&emulator)).await.unwrap().status, 401);
    client.send(get(&format!("{}/nowhere", emulator.imds_url()))).await.unwrap();
    browser.write("#toml", "[[fault]]\nkind = \"gone\"\nstep = \"metadata\"\nlasting = \"70s\"\n").await;
    browser.click("#on").await;
    browser.until("return document.querySelectorAll('.fault').length === 1").await;
    browser.until("return document.querySelectorAll('.request').length === 6").await;
    assert_eq!(emulator.journal().count(Step::Token), 3);

    for (width, height) in [(1280, 900), (400, 900)] {
        let file = screenshots().join(format!("light-{width}.png"));
        assert!(browser.screenshot(width, height, &file).await, "the page overflows at {width} px");
        println!("{}", file.display());
    }
    let dark = json!({ "features": [{ "name": "prefers-color-scheme", "value": "dark" }] });
    let command = json!({ "cmd": "Emulation.setEmulatedMedia", "params": dark });
    browser.send("/goog/cdp/execute", command).await;
    for (width, height) in [(1280, 900), (400, 2000)] {
        let file = screenshots().join(format!("dark-{width}.png"));
        assert!(browser.screenshot(width, height, &file).await, "the page overflows at {width} px");
        println!("{}", file.display());
    }
    // The log contains violations of the content security policy.
    assert_eq!(browser.log_errors().await, Vec::<String>::new());

    // The page notices that the emulator has stopped.
    drop(emulator);
    browser.until("return document.getElementById('live').className === ''").await;
}

#[tokio::test]
async fn page_escapes_invisible_characters() {
    let address = "127.0.0.1:0".parse().unwrap();
    let emulator = Emulator::builder().admin_address(address).start().await.unwrap();
    let Some(browser) = Browser::open(&emulator).await else { return };
    browser.send("/url", json!({ "url": emulator.admin_url().unwrap() })).await;
    browser.until("return document.getElementById('live').textContent === 'live'").await;
    let client = Client::new(&emulator, None);
    let target = "/metadata/identity/oauth2/token?resource=x%E2%80%AEy%C2%9B&client_id=%E2%80%AEid";
    client.send(get(&format!("{}{target}", emulator.imds_url()))).await.unwrap();
    browser.until("return document.querySelectorAll('.request').length === 1").await;
    let shown = browser.script("return document.querySelector('.request').textContent").await;
    let shown = shown.as_str().unwrap();
    assert!(shown.contains(r"x\u{202e}y\u{9b}") && shown.contains(r"\u{202e}id"), "{shown}");
    assert!(!shown.contains(['\u{202e}', '\u{9b}']), "{shown}");
}
