//! One delivery over HTTP: `POST /api/v1/ingest`, gzip, with a bearer token or a client certificate.

use std::fs;
use std::path::Path;
use std::time::Duration;

use thiserror::Error;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};
use ureq::{Agent, Body};

/// How long a request may take.
const TIMEOUT: Duration = Duration::from_secs(30);
/// The most bytes that are read of an answer.
const ANSWER: u64 = 4096;
/// How the collector names a delivery that it cannot read.
const UNREADABLE: &str = "/problems/bad-delivery";

/// A collector and what to show to it.
#[derive(Debug)]
pub struct Collector {
    agent: Agent,
    base: String,
    token: Option<String>,
}

/// Why a delivery was not kept.
#[derive(Debug, Error)]
pub enum CollectorError {
    /// It never will be: the collector cannot read it.
    #[error("{0}")]
    Refused(String),
    /// It may be later: the collector is away, busy, or does not know the agent.
    #[error("{why}")]
    Later {
        /// What happened.
        why: String,
        /// When the collector asks to come again.
        after: Option<Duration>,
    },
}

/// Why a collector cannot be used at all.
#[derive(Debug, Error)]
pub enum SetupError {
    /// Anything but `http://` or `https://`.
    #[error("{0}: a URL such as https://collector:8480 is expected")]
    Url(String),
    /// A token over plain HTTP to another machine could be read on the way.
    #[error("{0}: a token goes to other machines over https only")]
    TokenInClear(String),
    /// A token without a character is none.
    #[error("{0}: the first line holds no token")]
    NoToken(String),
    /// A file that is named cannot be used.
    #[error("{0}: {1}")]
    File(String, String),
}

/// The certificates of a connection to a collector.
#[derive(Debug, Default)]
pub struct Tls<'a> {
    /// The CA of the collector's certificate, PEM; absent for the ones that are trusted everywhere.
    pub ca: Option<&'a Path>,
    /// The agent's own certificate and key, PEM.
    pub identity: Option<(&'a Path, &'a Path)>,
}

impl Collector {
    /// Takes the collector's base URL, the token to send, and the certificates.
    ///
    /// # Errors
    ///
    /// When the URL is none, a token would go in the clear, or a file cannot be used.
    pub fn new(base: &str, token: Option<String>, tls: &Tls<'_>) -> Result<Self, SetupError> {
        let base = base.trim_end_matches('/');
        let host = base.strip_prefix("http://").map(str::to_owned);
        if host.is_none() && !base.starts_with("https://") {
            return Err(SetupError::Url(base.to_owned()));
        }
        if token.is_some() && host.is_some_and(|host| !is_loopback(&host)) {
            return Err(SetupError::TokenInClear(base.to_owned()));
        }
        let mut config = TlsConfig::builder();
        if let Some(ca) = tls.ca {
            config = config.root_certs(RootCerts::from(certificates(ca)?));
        }
        if let Some((certificate, key)) = tls.identity {
            let text = read(key)?;
            let private = PrivateKey::from_pem(&text)
                .map_err(|error| SetupError::File(key.display().to_string(), error.to_string()))?;
            config =
                config.client_cert(Some(ClientCert::new_with_certs(&certificates(certificate)?, private)));
        }
        let mut settings = Agent::config_builder();
        if base.starts_with("http://") {
            // A proxy out of the environment would be another machine, and see the token.
            settings = settings.proxy(None);
        }
        let agent = settings
            .timeout_global(Some(TIMEOUT))
            .http_status_as_error(false)
            .max_redirects(0)
            .user_agent(concat!("wireproof-agent/", env!("CARGO_PKG_VERSION")))
            .tls_config(config.build())
            .build()
            .new_agent();
        Ok(Self { agent, base: base.to_owned(), token })
    }

    /// Returns the base URL.
    #[must_use]
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Connects anew for the next delivery: certificates are looked at when a connection begins, and addresses of names.
    pub fn reconnect(&mut self) {
        self.agent = Agent::new_with_config(self.agent.config().clone());
    }

    /// Sends one delivery.
    ///
    /// # Errors
    ///
    /// When the collector did not keep it.
    pub fn send(&self, delivery: &[u8]) -> Result<(), CollectorError> {
        let mut request = self
            .agent
            .post(format!("{}/api/v1/ingest", self.base))
            .header("content-type", "application/x-ndjson")
            .header("content-encoding", "gzip");
        if let Some(token) = &self.token {
            request = request.header("authorization", format!("Bearer {token}"));
        }
        let later = |why: String| CollectorError::Later { why, after: None };
        let mut answer = request.send(delivery).map_err(|error| {
            // Of an error of the system its own words, without what ureq puts before them.
            later(if let ureq::Error::Io(own) = &error { own.to_string() } else { error.to_string() })
        })?;
        let status = answer.status().as_u16();
        if (200..300).contains(&status) {
            // A connection is used again once its answer was read to the end.
            let _ = answer.body_mut().with_config().limit(ANSWER).read_to_vec();
            return Ok(());
        }
        let after = answer
            .headers()
            .get("retry-after")
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(Duration::from_secs);
        let problem = Problem::of(answer.body_mut());
        let mut why = format!("status {status}");
        for (before, told) in [(": ", problem.detail), (", request ", problem.request)] {
            if let Some(told) = told {
                why.push_str(before);
                why.push_str(&told);
            }
        }
        // Only the collector's own word that it cannot read a delivery, and never will, ends it. What stands between may
        // answer with any status: a proxy with a limit of its own is mended, and then the delivery goes through.
        if status == 422 && problem.kind.as_deref() == Some(UNREADABLE) {
            Err(CollectorError::Refused(why))
        } else {
            Err(CollectorError::Later { why, after })
        }
    }
}

/// What a problem document (RFC 9457) says; nothing where the answer is none.
#[derive(Debug, Default)]
struct Problem {
    kind: Option<String>,
    detail: Option<String>,
    /// The request's name in the collector's log.
    request: Option<String>,
}

impl Problem {
    fn of(body: &mut Body) -> Self {
        let text = body.with_config().limit(ANSWER).read_to_string().unwrap_or_default();
        let document: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
        let word = |name: &str| document.get(name).and_then(|value| value.as_str()).map(str::to_owned);
        Self { kind: word("type"), detail: word("detail"), request: word("request_id") }
    }
}

fn is_loopback(host: &str) -> bool {
    let name = host.split('/').next().unwrap_or_default();
    let name =
        name.rsplit_once(':').filter(|(_, port)| port.parse::<u16>().is_ok()).map_or(name, |(name, _)| name);
    let address = name.trim_start_matches('[').trim_end_matches(']').parse::<std::net::IpAddr>();
    name == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

fn read(path: &Path) -> Result<Vec<u8>, SetupError> {
    fs::read(path).map_err(|error| SetupError::File(path.display().to_string(), error.to_string()))
}

fn certificates(path: &Path) -> Result<Vec<Certificate<'static>>, SetupError> {
    let text = read(path)?;
    let found: Result<Vec<_>, _> = ureq::tls::parse_pem(&text)
        .filter_map(|item| match item {
            Ok(ureq::tls::PemItem::Certificate(certificate)) => Some(Ok(certificate)),
            Ok(_) => None,
            Err(error) => Some(Err(error)),
        })
        .collect();
    let found = found.map_err(|error| SetupError::File(path.display().to_string(), error.to_string()))?;
    if found.is_empty() {
        return Err(SetupError::File(path.display().to_string(), "holds no certificate in PEM".to_owned()));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_token_does_not_go_in_the_clear_to_other_machines() {
        let new = |base: &str| Collector::new(base, Some("secret".to_owned()), &Tls::default()).is_ok();
        for base in ["http://127.0.0.1:8480", "http://localhost/", "http://[::1]:1", "https://collector:8480"]
        {
            assert!(new(base), "{base}");
        }
        for base in [
            "http://collector:8480",
            "http://10.0.0.1",
            "http://localhost.example:1",
            "ftp://127.0.0.1",
            "collector",
        ] {
            assert!(!new(base), "{base}");
        }
    }

    /// What the sender makes of an answer that is written down here.
    fn told(answer: &str) -> Result<(), CollectorError> {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answer = answer.replace('\n', "\r\n");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"a delivery") {
                let mut part = [0; 1024];
                let read = stream.read(&mut part).unwrap();
                request.extend_from_slice(&part[..read]);
            }
            stream.write_all(answer.as_bytes()).unwrap();
        });
        let told = Collector::new(&url, None, &Tls::default()).unwrap().send(b"a delivery");
        server.join().unwrap();
        told
    }

    #[test]
    fn deliveries_follow_each_other_on_one_connection_until_it_is_to_be_another_against_written_answers() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let server = std::thread::spawn(move || {
            let mut taken = Vec::new();
            for stream in listener.incoming().take(2) {
                let mut stream = stream.unwrap();
                let (mut requests, mut part) = (0, [0; 1024]);
                while let Ok(read @ 1..) = stream.read(&mut part) {
                    if part[..read].ends_with(b"a delivery") {
                        requests += 1;
                        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").unwrap();
                    }
                }
                taken.push(requests);
            }
            taken
        });
        let mut collector = Collector::new(&url, None, &Tls::default()).unwrap();
        for _ in 0..3 {
            collector.send(b"a delivery").unwrap();
        }
        collector.reconnect();
        collector.send(b"a delivery").unwrap();
        drop(collector);
        assert_eq!(server.join().unwrap(), [3, 1]);
    }

    #[test]
    fn only_the_collector_s_own_word_gives_a_delivery_up_against_written_answers() {
        let answer = |status: &str, body: &str| {
            format!(
                "HTTP/1.1 {status}\nRetry-After: 7\nConnection: close\nContent-Length: {}\n\n{body}",
                body.len()
            )
        };
        let unreadable = r#"{"type":"/problems/bad-delivery","detail":"line 2","request_id":"7f"}"#;
        assert!(told(&answer("200 OK", "{}")).is_ok());
        let given_up = told(&answer("422 Unprocessable Content", unreadable));
        assert!(
            matches!(given_up, Err(CollectorError::Refused(why)) if why == "status 422: line 2, request 7f")
        );
        for (status, body) in [
            ("413 Content Too Large", "<html>the proxy's limit</html>"),
            ("422 Unprocessable Content", "<html>a firewall</html>"),
            ("400 Bad Request", unreadable),
            ("401 Unauthorized", "{}"),
            ("429 Too Many Requests", "{}"),
            ("501 Not Implemented", r#"{"type":"/problems/newer-delivery"}"#),
            ("502 Bad Gateway", ""),
        ] {
            let told = told(&answer(status, body));
            let after = Some(Duration::from_secs(7));
            assert!(
                matches!(told, Err(CollectorError::Later { after: asked, .. }) if asked == after),
                "{status}: {told:?}"
            );
        }
    }
}
