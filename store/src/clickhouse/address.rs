//! Where the server is, who asks, and the password, which never shows.

use std::fmt;
use std::path::Path;

use crate::error::StoreError;

/// What a ClickHouse address begins with.
const SCHEMES: [(&str, &str); 2] = [("clickhouse://", "http"), ("clickhouses://", "https")];

/// A database on a ClickHouse server, as `clickhouse://user@host:port/database` (`clickhouses://` for TLS).
///
/// The port is that of the HTTP interface: 8123, or 8443 with TLS, where none is given. User and database are `default`
/// and `wireproof` where none are given.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    scheme: &'static str,
    host: String,
    user: String,
    database: String,
    password: Option<String>,
}

impl Address {
    /// Tells whether a text is meant as the address of a ClickHouse server, rather than as a file.
    #[must_use]
    pub fn is_meant(text: &str) -> bool {
        SCHEMES.iter().any(|(scheme, _)| text.starts_with(scheme))
    }

    /// Reads an address.
    ///
    /// # Errors
    ///
    /// [`StoreError::Address`] when the text is no such address, or holds a password: an argument shows in the list of processes.
    pub fn parse(text: &str) -> Result<Self, StoreError> {
        let bad = |why: &'static str| StoreError::Address { why };
        let Some((scheme, rest)) =
            SCHEMES.iter().find_map(|(prefix, scheme)| Some((*scheme, text.strip_prefix(prefix)?)))
        else {
            return Err(bad("it does not begin with clickhouse:// or clickhouses://"));
        };
        let (rest, database) = rest.split_once('/').unwrap_or((rest, "wireproof"));
        let (user, host) = rest.rsplit_once('@').unwrap_or(("default", rest));
        if user.contains(':') {
            return Err(bad("it holds a password: give that in a file or in WIREPROOF_STORE_PASSWORD"));
        }
        let plain = |word: &str| {
            !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
        };
        if !plain(user) || !plain(database) {
            return Err(bad("user and database are words of letters, digits, _ and -"));
        }
        let named = host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte));
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') => (name, Some(port)),
            Some(_) | None => (host, None),
        };
        let port = match port {
            Some(port) => port.parse::<u16>().map_err(|_| bad("the port is no number of 1 to 65535"))?,
            None if scheme == "https" => 8443,
            None => 8123,
        };
        if name.is_empty() || !named {
            return Err(bad("a host is expected, such as clickhouse://user@host:8123/database"));
        }
        let host = format!("{name}:{port}");
        Ok(Self { scheme, host, user: user.into(), database: database.into(), password: None })
    }

    /// Adds the password.
    #[must_use]
    pub fn with_password(mut self, password: impl Into<String>) -> Self {
        self.password = Some(password.into());
        self
    }

    /// Adds the password that a file's first line holds.
    ///
    /// # Errors
    ///
    /// When the file cannot be read.
    pub fn with_password_file(self, file: &Path) -> std::io::Result<Self> {
        let text = std::fs::read_to_string(file)?;
        Ok(self.with_password(text.lines().next().unwrap_or_default()))
    }

    /// Returns the name of the database.
    #[must_use]
    pub fn database(&self) -> &str {
        &self.database
    }

    /// Builds the client, for questions of the database.
    pub(super) fn client(&self) -> clickhouse::Client {
        let client = clickhouse::Client::default()
            .with_url(format!("{}://{}", self.scheme, self.host))
            .with_user(&self.user)
            .with_database(&self.database)
            .with_product_info("wireproof", env!("CARGO_PKG_VERSION"));
        match &self.password {
            Some(password) => client.with_password(password),
            None => client,
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.scheme == "https" { "clickhouses" } else { "clickhouse" };
        write!(f, "{scheme}://{}@{}/{}", self.user, self.host, self.database)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_given_has_a_default() {
        let shown = |text: &str| Address::parse(text).map(|address| address.to_string()).unwrap_or_default();
        assert_eq!(shown("clickhouse://h"), "clickhouse://default@h:8123/wireproof");
        assert_eq!(shown("clickhouses://u@h/d"), "clickhouses://u@h:8443/d");
        assert_eq!(shown("clickhouse://u@[::1]:9000/d"), "clickhouse://u@[::1]:9000/d");
        assert_eq!(shown("clickhouse://u@[::1]/d"), "clickhouse://u@[::1]:8123/d");
    }

    #[test]
    fn what_is_no_address_is_refused_without_being_repeated() {
        let texts = [
            "http://h",
            "clickhouse://",
            "clickhouse://u@h:x/d",
            "clickhouse://u@h/a b",
            "clickhouse://u:secret@h",
        ];
        for text in texts {
            let said = Address::parse(text).unwrap_err().to_string();
            assert!(!said.contains("secret"), "{said}");
        }
    }

    #[test]
    fn the_password_does_not_show() {
        let address = Address::parse("clickhouse://u@h").unwrap().with_password("secret");
        assert!(!format!("{address} {address:?}").contains("secret"));
    }
}
