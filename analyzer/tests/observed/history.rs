//! OB21: connections are judged by the declarations in force when they began.

use analyzer::audit::Auditor;
use analyzer::report::{Judged, Judgement};
use flow::Flow;

use super::{JOB, PLAIN, SEARCH, at, clean, flow, mesh, with};

/// The clean mesh, and from noon on one in which `open` is STRICT.
fn auditor() -> Auditor {
    let strict = with(
        &clean(),
        "namespace: open}\nspec: {mtls: {mode: PERMISSIVE}}",
        "namespace: open}\nspec: {mtls: {mode: STRICT}}",
    );
    Auditor::with_history(mesh(&clean()), vec![(at("2026-03-01T12:00:00Z"), mesh(&strict))])
}

fn ids(judged: &Judged) -> Vec<&str> {
    judged.violations.iter().map(|violation| violation.id.as_str()).collect()
}

#[test]
fn ob21_an_open_connection_from_before_the_change() {
    let over = auditor().judge(&permitted("2026-03-01T11:00:00Z", "2026-03-01T11:59:59Z"));
    assert_eq!((over.judgement, ids(&over)), (Judgement::Conforms, vec![]));
    let open = auditor().judge(&permitted("2026-03-01T11:00:00Z", "2026-03-01T12:00:01Z"));
    assert_eq!((open.judgement, ids(&open)), (Judgement::Conforms, vec!["OB21"]));
    let found = &open.violations[0];
    assert!(
        found.message.contains("2026-03-01T12:00:00") && found.message.contains("OB01"),
        "{}",
        found.message
    );
    assert_eq!(found.cause.as_deref(), Some("PeerAuthentication/open/default"));
    let new = auditor().judge(&permitted("2026-03-01T12:00:00Z", "2026-03-01T12:00:01Z"));
    assert_eq!((new.judgement, ids(&new)), (Judgement::Violates, vec!["OB01"]));
}

/// Plaintext of a node's, which PERMISSIVE takes without remark.
fn permitted(from: &str, to: &str) -> Flow {
    Flow { start: at(from), end: at(to), ..flow("10.1.9.9", SEARCH, PLAIN) }
}

#[test]
fn a_flow_that_broke_what_was_in_force_is_no_older_connection() {
    let blocker = Flow {
        start: at("2026-03-01T11:00:00Z"),
        end: at("2026-03-01T13:00:00Z"),
        ..flow(JOB, SEARCH, PLAIN)
    };
    assert_eq!(ids(&auditor().judge(&blocker)), ["OB05"]);
}

#[test]
fn the_order_of_the_history_does_not_matter() {
    let (early, late) = ("2026-03-01T10:00:00Z", "2026-03-01T12:00:00Z");
    let strict = with(&clean(), "mode: PERMISSIVE", "mode: STRICT");
    let histories = [[(early, &strict), (late, &clean())], [(late, &clean()), (early, &strict)]];
    for history in histories {
        let later = history.iter().map(|(from, text)| (at(from), mesh(text))).collect();
        let auditor = Auditor::with_history(mesh(&clean()), later);
        let judged = auditor.judge(&permitted("2026-03-01T11:00:00Z", "2026-03-01T11:00:01Z"));
        assert_eq!(ids(&judged), ["OB01"]);
        let judged = auditor.judge(&permitted("2026-03-01T12:30:00Z", "2026-03-01T12:30:01Z"));
        assert_eq!(judged.judgement, Judgement::Conforms);
    }
}
