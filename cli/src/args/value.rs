//! Values of options that are more than text or a number.

use std::path::PathBuf;
use std::time::Duration;

use analyzer::report::Severity;
use flow::Timestamp;

use crate::exit::Status;

/// Declarations, and from when they are in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MeshAt {
    pub(crate) from: Timestamp,
    pub(crate) path: PathBuf,
}

pub(super) fn mesh_at(text: &str) -> Result<MeshAt, String> {
    let (time, path) =
        text.split_once('=').filter(|(_, path)| !path.is_empty()).ok_or("TIME=PATH is expected")?;
    Ok(MeshAt { from: time.parse()?, path: path.into() })
}

/// The mildest severity that makes a run fail; absent for `never`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FailOn(Option<Severity>);

impl FailOn {
    /// Returns the status for findings of these severities.
    pub(crate) fn status(self, severities: impl IntoIterator<Item = Severity>) -> Status {
        let fails = |severity| self.0.is_some_and(|mildest| severity >= mildest);
        if severities.into_iter().any(fails) { Status::Findings } else { Status::Clean }
    }
}

pub(super) fn fail_on(text: &str) -> Result<FailOn, String> {
    if text == "never" {
        return Ok(FailOn(None));
    }
    text.parse().map(|severity| FailOn(Some(severity))).map_err(|error| format!("{error}, or never"))
}

/// The units of a time to keep, in seconds.
const UNITS: &[(char, u64)] = &[('h', 3600), ('d', 86_400), ('w', 604_800)];

pub(super) fn keep(text: &str) -> Result<Duration, String> {
    let told = || "a number with h, d or w is expected, such as 30d".to_owned();
    let (count, seconds) = UNITS
        .iter()
        .find_map(|(unit, seconds)| Some((text.strip_suffix(*unit)?, seconds)))
        .ok_or_else(told)?;
    let count: u64 = count.parse().map_err(|_| told())?;
    count.checked_mul(*seconds).filter(|whole| *whole > 0).map(Duration::from_secs).ok_or_else(told)
}

pub(super) fn word(text: &str) -> Result<String, String> {
    let plain = text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-{}".contains(&byte));
    if plain && !text.is_empty() {
        Ok(text.into())
    } else {
        Err("a word of letters, digits, _ and - is expected".into())
    }
}

pub(super) fn share(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(share) if (0.0..=1.0).contains(&share) => Ok(share),
        Ok(_) | Err(_) => Err("a share from 0 to 1 is expected, such as 0.95".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_to_keep_has_a_unit() {
        for (text, seconds) in [("12h", Some(43_200)), ("30d", Some(2_592_000)), ("2w", Some(1_209_600))] {
            assert_eq!(keep(text).ok().map(|time| time.as_secs()), seconds, "{text}");
        }
        for text in ["", "30", "d", "0d", "-1d", "1dd", "99999999999999999999d"] {
            assert!(keep(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_run_fails_on_what_is_at_least_as_bad() {
        for &mildest in Severity::ALL {
            for &found in Severity::ALL {
                let expected = if found >= mildest { Status::Findings } else { Status::Clean };
                assert_eq!(FailOn(Some(mildest)).status([found]), expected, "{mildest} {found}");
            }
            assert_eq!(fail_on("never").unwrap().status([mildest]), Status::Clean);
        }
    }

    #[test]
    fn declarations_have_a_time_and_a_path() {
        let read = mesh_at("2026-03-01T13:00:00+01:00=a=b.yaml").unwrap();
        assert_eq!(read.path, PathBuf::from("a=b.yaml"));
        assert_eq!(read.from, "2026-03-01T12:00:00Z".parse().unwrap());
        for wrong in ["2026-03-01T12:00:00Z", "2026-03-01T12:00:00Z=", "noon=mesh.yaml", ""] {
            assert!(mesh_at(wrong).is_err(), "{wrong}");
        }
    }
}
