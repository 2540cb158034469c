//! Where the server may listen, and who may ask. Checked before a socket is opened.

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, PoisonError, RwLock};

use thiserror::Error;

/// The shortest token that is taken, in characters.
pub const SHORTEST_TOKEN: usize = 16;

/// A secret that requests must carry as `Authorization: Bearer`, which can be replaced while it is asked for. Copies are
/// replaced with it.
#[derive(Clone)]
pub struct Token(Arc<RwLock<String>>);

/// Where to listen, together with the authentication that this place needs.
#[derive(Debug, Clone)]
pub struct Bind {
    address: SocketAddr,
    token: Option<Token>,
}

/// Why the server does not listen as asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// Everybody who reaches the address could read everything.
    #[error("{0} is reachable from other machines: give a token file, or listen on 127.0.0.1")]
    Unprotected(SocketAddr),
    /// Too short to be a secret.
    #[error("the token has {0} characters: at least {SHORTEST_TOKEN} are needed")]
    ShortToken(usize),
    /// It could not be sent in a header.
    #[error("the token may hold printable ASCII characters without spaces only")]
    UnprintableToken,
}

impl Token {
    /// Reads the first line of a token file.
    ///
    /// # Errors
    ///
    /// When it is too short, or could not be sent in a header.
    pub fn parse(text: &str) -> Result<Self, ConfigError> {
        Ok(Self(Arc::new(RwLock::new(Self::line(text)?))))
    }

    /// Takes another token file's first line in place of this one, from the next request on.
    ///
    /// # Errors
    ///
    /// When it is no token; the old one stays.
    pub fn replace(&self, text: &str) -> Result<(), ConfigError> {
        let line = Self::line(text)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = line;
        Ok(())
    }

    fn line(text: &str) -> Result<String, ConfigError> {
        let line = text.lines().next().unwrap_or_default().trim();
        if !line.chars().all(|character| character.is_ascii_graphic()) {
            return Err(ConfigError::UnprintableToken);
        }
        if line.len() < SHORTEST_TOKEN {
            return Err(ConfigError::ShortToken(line.len()));
        }
        Ok(line.into())
    }

    /// Compares without telling by its duration where the difference is; only the length may show.
    #[must_use]
    pub fn matches(&self, given: &[u8]) -> bool {
        let held = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let ours = held.as_bytes();
        let difference = ours.iter().zip(given).fold(0, |all, (a, b)| std::hint::black_box(all | (a ^ b)));
        ours.len() == given.len() && difference == 0
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Bind {
    /// Takes an address; one that other machines reach needs a token.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Unprotected`] when it has none.
    pub fn new(address: SocketAddr, token: Option<Token>) -> Result<Self, ConfigError> {
        if token.is_none() && !address.ip().to_canonical().is_loopback() {
            return Err(ConfigError::Unprotected(address));
        }
        Ok(Self { address, token })
    }

    /// Returns the address to listen on.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    pub(crate) const fn token(&self) -> Option<&Token> {
        self.token.as_ref()
    }

    /// Tells whether a `Host` header may be answered.
    ///
    /// On loopback a page of any site can have its own name resolve to this machine (DNS rebinding) and read the
    /// answers; its name in the header gives it away. Elsewhere the token protects.
    pub(crate) fn answers_to(&self, host: &str) -> bool {
        if !self.address.ip().to_canonical().is_loopback() {
            return true;
        }
        let name = match host.rsplit_once(':') {
            Some((name, port)) if port.chars().all(|digit| digit.is_ascii_digit()) => name,
            Some(_) | None => host,
        };
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        name.eq_ignore_ascii_case("localhost")
            || address.is_ok_and(|address| {
                address == self.address.ip() || ["127.0.0.1", "::1"].contains(&address.to_string().as_str())
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_goes_without_a_token() {
        let check = |address: &str, token: Option<&str>, expected: bool| {
            let token = token.map(|token| Token::parse(token).unwrap());
            assert_eq!(Bind::new(address.parse().unwrap(), token).is_ok(), expected, "{address}");
        };
        for address in ["127.0.0.1:0", "127.8.8.8:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            check(address, None, true);
        }
        for address in ["0.0.0.0:1", "[::]:1", "192.0.2.1:1", "[::ffff:192.0.2.1]:1"] {
            check(address, None, false);
            check(address, Some("0123456789abcdef\nnot this"), true);
        }
    }

    #[test]
    fn a_token_is_long_and_can_be_sent() {
        assert_eq!(Token::parse("short\n").unwrap_err(), ConfigError::ShortToken(5));
        assert_eq!(Token::parse("").unwrap_err(), ConfigError::ShortToken(0));
        assert_eq!(Token::parse("0123456789 abcdefgh").unwrap_err(), ConfigError::UnprintableToken);
        let token = Token::parse("0123456789abcdef\n").unwrap();
        for (given, expected) in
            [("0123456789abcdef", true), ("0123456789abcdeX", false), ("0123", false), ("", false)]
        {
            assert_eq!(token.matches(given.as_bytes()), expected, "{given}");
        }
        assert!(!token.matches(b"0123456789abcdef0"));
        assert!(!format!("{token:?}").contains("0123"));
        let copy = token.clone();
        assert_eq!(token.replace("short"), Err(ConfigError::ShortToken(5)));
        assert!(copy.matches(b"0123456789abcdef"), "what is no token changes nothing");
        assert_eq!(token.replace("fedcba9876543210"), Ok(()));
        assert!(copy.matches(b"fedcba9876543210") && !copy.matches(b"0123456789abcdef"));
    }

    #[test]
    fn foreign_names_are_not_answered_on_loopback() {
        let bind = Bind::new("127.0.0.2:8480".parse().unwrap(), None).unwrap();
        for host in ["localhost", "LOCALHOST:8480", "127.0.0.1:1", "127.0.0.2:8480", "[::1]", "[::1]:8480"] {
            assert!(bind.answers_to(host), "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8480",
            "localhost.evil.example",
            "",
            "10.0.0.1",
            "127.0.0.1.evil.example",
        ] {
            assert!(!bind.answers_to(host), "{host}");
        }
    }
}
