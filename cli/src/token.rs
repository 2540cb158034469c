//! Tokens out of files: read at the start, and again while the server serves, since tokens are changed.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use api::config::Token;
use api::{Task, Upkeep};

use crate::exit::Fatal;
use crate::looks::Looks;

/// A token, and the file that it stands in.
pub(crate) struct Kept {
    file: PathBuf,
    text: String,
    token: Token,
}

impl Kept {
    /// Reads a file's first line.
    pub(crate) fn read(file: &Path) -> Result<Self, Fatal> {
        let text = fs::read_to_string(file)
            .with_context(|| format!("{}: cannot be read", file.display()))
            .map_err(Fatal::input)?;
        let token = Token::parse(&text).with_context(|| file.display().to_string()).map_err(Fatal::input)?;
        Ok(Self { file: file.to_owned(), text, token })
    }

    /// Returns the token, as it is now and will be.
    pub(crate) fn token(&self) -> Token {
        self.token.clone()
    }

    /// Looks at the file again and again. What is no token leaves the old one in place, which is said and counted at every
    /// look.
    pub(crate) async fn renew(mut self, mut looks: Looks, upkeep: Upkeep) {
        loop {
            looks.next().await;
            let file = self.file.display();
            let renewed = match fs::read_to_string(&self.file) {
                Ok(text) if text == self.text => continue,
                Ok(text) => self.token.replace(&text).map(|()| self.text = text).map_err(anyhow::Error::from),
                Err(error) => Err(error.into()),
            };
            match renewed {
                Ok(()) => tracing::info!(%file, "the token was renewed"),
                Err(error) => {
                    tracing::warn!(%file, %error, "the old token stays");
                    upkeep.failed(Task::ReadCredentials);
                }
            }
        }
    }
}
