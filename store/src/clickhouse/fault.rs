//! The client's errors as the store's. A server's message may hold rows, statements or what it received so far: only its
//! code and the code's name get through.

use std::io;

use clickhouse::error::Error;

use crate::error::StoreError;

/// The code of a table that is to be made and is there already.
pub(super) const IS_THERE: u32 = 57;

/// Codes for which there is something to say.
const HINTS: &[(u32, &str)] = &[
    (IS_THERE, ": another collector sums up days"),
    (60, ": a table is missing; run `wireproof store migrate`"),
    (81, ": the database is not there; create it, or run `wireproof store migrate` as a user who may"),
    (159, ": the question took too long; narrow the time"),
    (164, ": this user may only read"),
    (192, ": there is no such user"),
    (193, ": the password is wrong"),
    (194, ": a password is needed"),
    (241, ": it is short of memory; narrow the time, or give it more"),
    (243, ": its disk is full"),
    (252, ": it does not keep up with merging; send larger batches, or look at its disks"),
    (497, ": this user lacks the right to do so"),
    (516, ": user or password is wrong"),
];

#[expect(clippy::wildcard_enum_match_arm, reason = "the client's errors, which grow with it")]
pub(super) fn told(place: &str, error: &Error) -> StoreError {
    let place = place.to_owned();
    match error {
        Error::Network(source) => {
            // The innermost cause says what happened (refused, reset); the layers above only that something did.
            let mut cause: &(dyn std::error::Error + 'static) = source.as_ref();
            while let Some(inner) = cause.source() {
                cause = inner;
            }
            let why = cause.downcast_ref::<io::Error>().map_or_else(
                || "the connection ended before the answer did".to_owned(),
                // TLS has no kind of its own: what it says, it says of a certificate or of bytes that are none of its records.
                |cause| if is_tls(cause) { cause.to_string() } else { cause.kind().to_string() },
            );
            StoreError::Unreachable { place, why }
        }
        Error::BadResponse(text) => {
            let (code, name) = code(text);
            let hint = HINTS.iter().find(|(known, _)| *known == code).map_or("", |(_, hint)| hint);
            StoreError::Refused { place, code, name, hint }
        }
        Error::TimedOut => StoreError::Slow { place, seconds: 0 },
        Error::Compression(_) | Error::Decompression(_) | Error::NotEnoughData | Error::DataFormat(_) => {
            StoreError::Answer { place, why: "it ended early or cannot be unpacked" }
        }
        Error::SchemaMismatch(_) | Error::InvalidColumnsHeader(_) => {
            StoreError::Answer { place, why: "columns differ from this version's" }
        }
        Error::RowNotFound => StoreError::Answer { place, why: "a row is missing" },
        _ => StoreError::Answer { place, why: "it does not read as rows" },
    }
}

fn is_tls(cause: &io::Error) -> bool {
    matches!(cause.kind(), io::ErrorKind::InvalidData | io::ErrorKind::Other)
}

/// Tells whether trying again may help: nothing was decided by the server. What was recorded twice counts once.
pub(super) fn may_pass(error: &StoreError) -> bool {
    matches!(error, StoreError::Unreachable { .. } | StoreError::Slow { .. })
}

/// Finds `Code: N` and the name in the last brackets of capitals; data may stand before them.
fn code(text: &str) -> (u32, String) {
    let place = text.rfind("Code: ");
    let after = place.and_then(|place| text.get(place + "Code: ".len()..)).unwrap_or_default();
    let digits = after.split(|sign: char| !sign.is_ascii_digit()).next().unwrap_or_default();
    let name = after
        .split('(')
        .filter_map(|part| part.split(')').next())
        .rfind(|word| word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'_'));
    (digits.parse().unwrap_or(0), name.unwrap_or("no name given").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_code_and_name_get_through() {
        let text = "10.0.0.1 secret row (ROW_DATA) Code: 243. DB::Exception: Cannot reserve 1.00 MiB for 'secret': while pushing. (NOT_ENOUGH_SPACE) (version 26.7)";
        let said = told("clickhouse://u@h/d", &Error::BadResponse(text.into())).to_string();
        assert_eq!(
            said,
            "the store clickhouse://u@h/d refused with code 243 (NOT_ENOUGH_SPACE): its disk is full"
        );
        let said = told("h", &Error::BadResponse("<html>a proxy's page".into())).to_string();
        assert_eq!(said, "the store h refused with code 0 (no name given)");
    }
}
