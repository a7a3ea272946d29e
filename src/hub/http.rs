//! Requests: timeouts, redirects, and who may see the token.

use std::sync::Arc;

use ureq::http::{HeaderMap, Uri};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};

use super::settings::Settings;
use crate::error::{Error, Result};

/// As many redirects as browsers follow, roughly.
const REDIRECTS: usize = 10;

/// Sends requests to the hub and follows where it redirects to.
pub struct Client {
    agent: ureq::Agent,
    /// The hub's scheme, host and port: whom the token is for.
    origin: Option<String>,
    token: Option<String>,
}

/// What came back.
pub struct Answer {
    pub status: u16,
    headers: HeaderMap,
    pub body: ureq::Body,
    /// Whether it comes from the hub itself, not from a host that it redirects to.
    pub is_hubs: bool,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub fn number(&self, name: &str) -> Option<u64> {
        self.header(name)?.trim().parse().ok()
    }

    fn redirects_to(&self) -> Option<&str> {
        self.header("location").filter(|_| matches!(self.status, 301 | 302 | 303 | 307 | 308))
    }

    pub fn is_redirect(&self) -> bool {
        self.redirects_to().is_some()
    }
}

impl Client {
    /// # Errors
    /// [`Error::Io`] if the file of certificates can't be read.
    pub fn new(settings: &Settings) -> Result<Client> {
        let mut tls = TlsConfig::builder();
        if let Some(file) = &settings.certificates {
            let text = std::fs::read(file).map_err(Error::io(file))?;
            let read = parse_pem(&text).filter_map(|item| match item {
                Ok(PemItem::Certificate(certificate)) => Some(certificate),
                _ => None,
            });
            tls = tls.root_certs(RootCerts::Specific(Arc::new(read.collect())));
        }
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            // Redirects are followed here, so that the token goes nowhere else.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .user_agent(concat!("vit-gpu/", env!("CARGO_PKG_VERSION")))
            // Compressed, a file would have another size than the one that is announced.
            .accept_encoding("identity")
            .tls_config(tls.build())
            .timeout_resolve(Some(settings.answer))
            .timeout_connect(Some(settings.answer))
            .timeout_send_request(Some(settings.answer))
            .timeout_recv_response(Some(settings.answer))
            .timeout_per_read(Some(settings.stall));
        let (origin, token) = (origin(&settings.endpoint), settings.token.clone());
        Ok(Client { agent: config.build().new_agent(), origin, token })
    }

    /// Whether requests to the hub carry a token.
    pub fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// Asks what a file is. A redirect to another host is followed only if this host has not said it.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn head(&self, url: &str) -> Result<Answer, String> {
        self.follow(
            url,
            |url| self.send(true, url, &[]),
            |answer, other_host| {
                let says_what = answer.header("x-linked-etag").or(answer.header("etag")).is_some();
                !(other_host && says_what)
            },
        )
    }

    /// Fetches, with these headers besides.
    ///
    /// # Errors
    /// Why there is no answer.
    pub fn get(&self, url: &str, headers: &[(&str, String)]) -> Result<Answer, String> {
        self.follow(url, |url| self.send(false, url, headers), |_, _| true)
    }

    /// Follows redirects as long as `go_on` agrees; it is told whether the next host is another one.
    fn follow(
        &self,
        url: &str,
        send: impl Fn(&str) -> Result<Answer, String>,
        go_on: impl Fn(&Answer, bool) -> bool,
    ) -> Result<Answer, String> {
        let mut url = url.to_owned();
        for _ in 0..REDIRECTS {
            let answer = send(&url)?;
            let Some(location) = answer.redirects_to() else { return Ok(answer) };
            let next = join(&url, location).ok_or_else(|| format!("it redirects to `{location}`"))?;
            if !go_on(&answer, origin(&next) != origin(&url)) {
                return Ok(answer);
            }
            url = next;
        }
        Err(format!("it redirects more than {REDIRECTS} times"))
    }

    fn send(&self, head: bool, url: &str, headers: &[(&str, String)]) -> Result<Answer, String> {
        let mut request = if head { self.agent.head(url) } else { self.agent.get(url) };
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        if let Some(token) = self.token.as_ref().filter(|_| origin(url) == self.origin) {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        let (parts, body) = request.call().map_err(|error| reason(&error))?.into_parts();
        Ok(Answer { status: parts.status.as_u16(), headers: parts.headers, body, is_hubs: origin(url) == self.origin })
    }
}

/// Why a request failed, or a body broke off.
pub fn reason(error: &ureq::Error) -> String {
    let text = match error {
        ureq::Error::HostNotFound => "there is no host of this name, or no network".to_owned(),
        ureq::Error::Timeout(_) => "it did not answer in time".to_owned(),
        ureq::Error::Io(error) => error.to_string(),
        other => other.to_string(),
    };
    // In some networks, TLS ends at a machine of the network's own.
    let hint = if text.contains("certificate") { " (SSL_CERT_FILE names a file of certificates to trust)" } else { "" };
    text + hint
}

/// Scheme, host and port of an address; `None` for what is not on the web.
pub fn origin(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let port = match uri.scheme_str()? {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    let port = uri.port_u16().unwrap_or(port);
    Some(format!("{}://{}:{port}", uri.scheme_str()?, uri.host()?.to_lowercase()))
}

/// The address that a redirect means; `None` for what is not on the web.
fn join(base: &str, location: &str) -> Option<String> {
    let (scheme, rest) = base.split_once("://")?;
    let (host, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let url = if location.contains("://") {
        location.to_owned()
    } else if location.starts_with("//") {
        format!("{scheme}:{location}")
    } else if location.starts_with('/') {
        format!("{scheme}://{host}{location}")
    } else {
        let path = path.split(['?', '#']).next().unwrap_or_default();
        let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
        format!("{scheme}://{host}{folder}/{location}")
    };
    origin(&url).map(|_| url)
}

/// One part of a path, with everything else than letters, digits and `-._~` percent-encoded.
pub fn encode(part: &str) -> String {
    let byte = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
        _ => format!("%{byte:02X}"),
    };
    part.bytes().map(byte).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_may_be_relative() {
        let base = "https://hub.co/a/resolve/main/x?y=/z";
        for (location, want) in [
            ("http://cdn.co/f?sig=a%2Fb", "http://cdn.co/f?sig=a%2Fb"),
            ("//cdn.co/f", "https://cdn.co/f"),
            ("/api/f", "https://hub.co/api/f"),
            ("g", "https://hub.co/a/resolve/main/g"),
        ] {
            assert_eq!(join(base, location).as_deref(), Some(want));
        }
        assert_eq!(join("http://h:1", "f").as_deref(), Some("http://h:1/f"));
        for bad in ["file:///etc/passwd", "ftp://h/x", "javascript://x"] {
            assert_eq!(join(base, bad), None);
        }
    }

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        assert_eq!(origin("https://Hub.co/x"), origin("https://hub.co:443/y"));
        for other in
            ["http://hub.co/x", "https://hub.co:444/x", "https://hub.co.evil.com/x", "https://hub.co@evil.com/"]
        {
            assert_ne!(origin("https://hub.co/x"), origin(other), "{other}");
        }
        assert_eq!(encode("refs/pr/1 ä"), "refs%2Fpr%2F1%20%C3%A4");
    }
}
