//! The page in a real browser: Chromium, driven by chromedriver over WebDriver (W3C), which is JSON over HTTP.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use base64ct::{Base64, Encoding};
use http::Request;
use serde_json::{Value, json};
use symbolon_emulator::{Emulator, Fault, Step};
use symbolon_types::Env;
use tempfile::TempDir;

use crate::certified::{bound_request, bound_token, certified};
use crate::client::{Client, get};
use crate::csr::Key;

/// The key under which WebDriver returns an element (WebDriver §12).
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser window.
struct Browser {
    driver: Child,
    session: String,
    client: Client,
    _profile: TempDir,
}

impl Browser {
    /// None where there is no Chromium.
    async fn open(emulator: &Emulator) -> Option<Self> {
        let mut command = Command::new("chromedriver");
        command.arg("--port=0").stdout(Stdio::piped()).stderr(Stdio::null());
        let Ok(mut driver) = command.spawn() else {
            assert!(Env::process().var("CI").is_none(), "missing: chromium and chromium-driver");
            println!("skipped: the page needs chromium and chromedriver (chromium-driver)");
            return None;
        };
        let mut said = BufReader::new(driver.stdout.take().unwrap()).lines();
        let port = said.find_map(|line| {
            let line = line.unwrap();
            let (_, port) = line.split_once("started successfully on port ")?;
            Some(port.trim_end_matches('.').to_owned())
        });
        // Read on, so that the driver is never stopped by a full pipe.
        std::thread::spawn(move || said.for_each(drop));
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
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome",
            "goog:chromeOptions": { "args": arguments },
            "goog:loggingPrefs": { "browser": "ALL" },
        } } });
        let opened = browser.ask("", wanted).await;
        let id = opened["sessionId"].as_str().unwrap().to_owned();
        println!("{} {}", opened["capabilities"]["browserName"], opened["capabilities"]["browserVersion"]);
        browser.session += &format!("/{id}");
        Some(browser)
    }

    async fn ask(&self, path: &str, body: Value) -> Value {
        let request = Request::post(format!("{}{path}", self.session))
            .header("content-type", "application/json")
            .body(body.to_string())
            .unwrap();
        let answer = self.client.send(request).await.unwrap();
        assert_eq!(answer.status, 200, "{path}: {}", answer.json());
        answer.json()["value"].clone()
    }

    async fn script(&self, script: &str) -> Value {
        self.ask("/execute/sync", json!({ "script": script, "args": [] })).await
    }

    async fn element(&self, css: &str) -> String {
        let found = self.ask("/element", json!({ "using": "css selector", "value": css })).await;
        found[ELEMENT].as_str().unwrap().to_owned()
    }

    async fn click(&self, css: &str) {
        let element = self.element(css).await;
        self.ask(&format!("/element/{element}/click"), json!({})).await;
    }

    async fn write(&self, css: &str, text: &str) {
        let element = self.element(css).await;
        self.ask(&format!("/element/{element}/clear"), json!({})).await;
        self.ask(&format!("/element/{element}/value"), json!({ "text": text })).await;
    }

    /// Waits until a script returns true.
    async fn until(&self, script: &str) {
        for _ in 0..500 {
            if self.script(script).await == true {
                return;
            }
            let pause = "setTimeout(arguments[0], 20)";
            self.ask("/execute/async", json!({ "script": pause, "args": [] })).await;
        }
        panic!("never: {script}\n{}", self.script("return document.body.innerText").await);
    }

    /// Makes the window this large and writes a picture of it, and says whether anything sticks out to the side.
    async fn picture(&self, width: u32, height: u32, file: &Path) -> bool {
        // Headless Chromium has no window narrower than 500 px; the metrics of a device have no such bound.
        let metrics =
            json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 });
        let command = json!({ "cmd": "Emulation.setDeviceMetricsOverride", "params": metrics });
        self.ask("/goog/cdp/execute", command).await;
        self.until(&format!("scrollTo(0, 0); return innerWidth === {width} && scrollY === 0")).await;
        let png = self.client.send(get(&format!("{}/screenshot", self.session))).await.unwrap().json();
        std::fs::write(file, Base64::decode_vec(png["value"].as_str().unwrap()).unwrap()).unwrap();
        let fits = "return document.documentElement.scrollWidth <= innerWidth";
        self.script(fits).await == true
    }

    /// What the browser complained about.
    async fn complaints(&self) -> Vec<String> {
        let log = self.ask("/se/log", json!({ "type": "browser" })).await;
        let messages = log.as_array().unwrap().iter();
        // An answer of 400 is what one step of the test asks for.
        messages
            .map(|one| one["message"].as_str().unwrap().to_owned())
            .filter(|message| !message.contains("status of 400"))
            .collect()
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let address = self.session.trim_start_matches("http://").split('/').next().unwrap().to_owned();
        let path = &self.session[self.session.find("/session").unwrap()..];
        // The driver closes the browser when the session is deleted; killed, it would leave it behind.
        if let Ok(mut stream) = std::net::TcpStream::connect(&address) {
            use std::io::{Read, Write};
            let head = format!("DELETE {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
            let _bounded = stream.set_read_timeout(Some(std::time::Duration::from_secs(10)));
            let _sent = stream.write_all(head.as_bytes());
            // It answers when the browser is gone, and keeps the connection open.
            let _answered = stream.read(&mut [0; 512]);
        }
        let _ended = self.driver.kill();
        let _reaped = self.driver.wait();
    }
}

/// Where the pictures go: into the build's own folder, for people to look at.
fn pictures() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("page");
    std::fs::create_dir_all(&folder).unwrap();
    folder
}

#[tokio::test]
async fn a_fault_that_is_switched_on_in_a_browser_happens_and_is_seen_there() {
    let address = "127.0.0.1:0".parse().unwrap();
    let emulator = Emulator::builder().admin_address(address).start().await.unwrap();
    let Some(browser) = Browser::open(&emulator).await else { return };
    browser.ask("/url", json!({ "url": emulator.admin_url().unwrap() })).await;
    browser.until("return document.getElementById('live').textContent === 'live'").await;

    // A mistake is told, and changes nothing.
    browser.write("#toml", "[[fault]]\nkind = \"rset\"\n").await;
    browser.click("#on").await;
    browser
        .until("return document.getElementById('problem').textContent.startsWith('line 2, column 8: unknown variant `rset`')")
        .await;
    assert_eq!(browser.script("return document.querySelectorAll('.fault').length").await, 0);

    // The one that the page offers for this kind.
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
    // It was for one request.
    browser.until("return document.querySelectorAll('.fault').length === 0").await;

    // Switched on, and off again before anything happens.
    browser.write("#toml", "[[fault]]\nkind = \"reset\"\nstep = \"token\"\ntimes = \"always\"\n").await;
    browser.click("#on").await;
    browser.until("return document.querySelectorAll('.fault').length === 1").await;
    // One of the same look in its place is another one, and its button is its own.
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

    // A certificate is revoked by its button.
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
        let file = pictures().join(format!("light-{width}.png"));
        assert!(browser.picture(width, height, &file).await, "something sticks out at {width} px");
        println!("{}", file.display());
    }
    let dark = json!({ "features": [{ "name": "prefers-color-scheme", "value": "dark" }] });
    let command = json!({ "cmd": "Emulation.setEmulatedMedia", "params": dark });
    browser.ask("/goog/cdp/execute", command).await;
    for (width, height) in [(1280, 900), (400, 2000)] {
        let file = pictures().join(format!("dark-{width}.png"));
        assert!(browser.picture(width, height, &file).await, "something sticks out at {width} px");
        println!("{}", file.display());
    }
    // A policy that is broken would be complained about.
    assert_eq!(browser.complaints().await, Vec::<String>::new());

    // The end of the emulator is seen.
    drop(emulator);
    browser.until("return document.getElementById('live').className === ''").await;
}
