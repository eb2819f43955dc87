//! A minimal browser for the sign-in pages of the server.

use std::collections::BTreeMap;

use crate::clients::REDIRECT_URI;
use crate::provider::OAuthServer;
use http::header::{CONTENT_TYPE, COOKIE, LOCATION, SET_COOKIE};
use http::{HeaderValue, Method};
use symbolon_transport::{Request, Response, Route, SharedTransport, Transport as _};
use url::Url;

/// More redirects and pages than a sign-in needs.
const MOST_STEPS: usize = 20;

/// Signs in as a user, consents to everything and keeps cookies by name, ignoring their paths.
pub(crate) struct Browser {
    transport: SharedTransport,
    cookies: BTreeMap<String, String>,
    user: &'static str,
}

impl Browser {
    pub(crate) fn of(user: &'static str, server: &OAuthServer) -> Self {
        Self { transport: server.transport(), cookies: BTreeMap::new(), user }
    }

    /// Opens the URL, submits the forms, and returns the query of the redirect to [`REDIRECT_URI`].
    pub(crate) async fn sign_in(&mut self, url: Url) -> String {
        let (mut url, mut form) = (url, None);
        for _ in 0..MOST_STEPS {
            let response = self.open(&url, form.take()).await;
            match response.headers().get(LOCATION) {
                Some(location) => url = url.join(location.to_str().unwrap()).unwrap(),
                None => form = Some(self.filled_in(&response)),
            }
            if let Some(query) =
                url.as_str().strip_prefix(REDIRECT_URI).and_then(|rest| rest.strip_prefix('?'))
            {
                return query.to_owned();
            }
        }
        panic!("the sign-in does not end: {url}");
    }

    async fn open(&mut self, url: &Url, form: Option<String>) -> Response {
        let method = if form.is_some() { Method::POST } else { Method::GET };
        let mut request = Request::new(method, url.clone(), Route::Public);
        if let Some(form) = form {
            request = request.with_body(form);
            let urlencoded = HeaderValue::from_static("application/x-www-form-urlencoded");
            request.headers_mut().insert(CONTENT_TYPE, urlencoded);
        }
        let cookies: Vec<_> = self.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
        request.headers_mut().insert(COOKIE, cookies.join("; ").parse().unwrap());
        let response = self.transport.send(request).await.unwrap();
        for cookie in response.headers().get_all(SET_COOKIE) {
            let (cookie, _) = cookie.to_str().unwrap().split_once(';').unwrap();
            let (name, value) = cookie.split_once('=').unwrap();
            self.cookies.insert(name.to_owned(), value.to_owned());
        }
        response
    }

    /// The fields that the form of a page posts.
    fn filled_in(&self, page: &Response) -> String {
        let html = String::from_utf8_lossy(page.body());
        let asks_for = |prompt| html.contains(&format!(r#"name="prompt" value="{prompt}""#));
        match (page.status().as_u16(), asks_for("login"), asks_for("consent")) {
            (200, true, _) => format!("prompt=login&login={}&password=any", self.user),
            (200, _, true) => "prompt=consent".to_owned(),
            (status, ..) => panic!("{status}, and no form: {html}"),
        }
    }
}
