//! Other network namespaces: the inside of a pod.

use std::fs::File;
use std::path::PathBuf;
use std::str::FromStr;

use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::LiveError;
use std::os::fd::AsFd as _;

/// A network namespace, by a process inside it, by its name under `/run/netns`, or by a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Namespace {
    asked: String,
    path: PathBuf,
}

impl FromStr for Namespace {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let path = if text.contains('/') {
            PathBuf::from(text)
        } else if text.bytes().all(|byte| byte.is_ascii_digit()) {
            PathBuf::from(format!("/proc/{text}/ns/net"))
        } else {
            PathBuf::from(format!("/run/netns/{text}"))
        };
        Ok(Self { asked: text.to_owned(), path })
    }
}

impl Namespace {
    /// Does something inside the namespace, with this thread, and comes back.
    pub(super) fn inside<T>(&self, what: impl FnOnce() -> Result<T, LiveError>) -> Result<T, LiveError> {
        let fail = |text: String| LiveError::Namespace(self.asked.clone(), text);
        let open = |path: &std::path::Path| {
            File::open(path).map_err(|error| fail(format!("{} cannot be opened: {error}", path.display())))
        };
        let own = open("/proc/thread-self/ns/net".as_ref())?;
        let other = open(&self.path)?;
        enter(&other).map_err(|errno| match errno {
            Errno::PERM => fail("entering it needs the capability CAP_SYS_ADMIN".to_owned()),
            Errno::INVAL => fail(format!("{} is no network namespace", self.path.display())),
            errno => fail(errno.to_string()),
        })?;
        let done = what();
        enter(&own).map_err(|errno| fail(format!("its own namespace cannot be entered again: {errno}")))?;
        done
    }
}

fn enter(namespace: &File) -> rustix::io::Result<()> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Network))
}
