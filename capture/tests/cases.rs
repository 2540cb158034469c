//! Inputs that once broke something under the fuzzer, replayed without it.

#[path = "../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "shared with the fuzz targets")]
mod targets;

use std::path::Path;

/// Runs every case of a target.
fn replay(target: &str, run: fn(&[u8])) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/cases").join(target);
    for case in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let data = std::fs::read(case.path()).unwrap_or_default();
        let outcome = std::panic::catch_unwind(|| run(&data));
        assert!(outcome.is_ok(), "{} fails again", case.path().display());
    }
}

macro_rules! replayed {
    ($($target:ident),*) => {
        $(#[test]
        fn $target() {
            replay(stringify!($target), targets::$target);
        })*

        #[test]
        fn every_target_is_replayed() {
            let targets = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/fuzz_targets");
            let mut there: Vec<_> = std::fs::read_dir(targets)
                .into_iter()
                .flatten()
                .flatten()
                .filter_map(|file| Some(file.path().file_stem()?.to_str()?.to_owned()))
                .collect();
            there.sort();
            let mut here = vec![$(stringify!($target).to_owned()),*];
            here.sort();
            assert_eq!(here, there);
        }
    };
}

replayed!(reader, decode, reassembly, handshake, quic, dtls, leaf, upgrade, detection, engine);
