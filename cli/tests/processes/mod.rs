//! The programs as processes of their own, which end with the test that starts them.

use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

/// Returns where a program of this workspace was built.
pub(crate) fn program(name: &str) -> PathBuf {
    let path = assert_cmd::cargo::cargo_bin("wireproof").with_file_name(name);
    assert!(path.exists(), "{} is not built: --features capture/agent is missing", path.display());
    path
}

/// Tells whether a test may make network namespaces. Without root it says that it skips itself, unless it must not.
pub(crate) fn is_root() -> bool {
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    if !root {
        assert!(
            std::env::var_os("WIREPROOF_REQUIRE_LIVE").is_none(),
            "live capture was required, and needs root"
        );
        eprintln!("skipped: making network namespaces needs root");
    }
    root
}

/// A process that is killed when dropped.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    pub(crate) fn kill(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Starts `wireproof serve`, and returns it with where it serves.
pub(crate) fn serve(command: &mut Command) -> (Running, String) {
    let mut serving = Running(command.stderr(Stdio::piped()).spawn().unwrap());
    let mut lines = BufReader::new(serving.0.stderr.take().unwrap()).lines().map_while(Result::ok);
    let url = lines
        .find_map(|line| Some(line.split_once("serving on ")?.1.split(' ').next()?.to_owned()))
        .unwrap_or_else(|| panic!("it did not start"));
    // It must not stop at a full pipe.
    std::thread::spawn(move || lines.for_each(drop));
    (serving, url)
}
