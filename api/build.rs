//! Lays out what is embedded as the page: the built dashboard, or a notice where it was not built.

use std::path::Path;
use std::{env, fs, io};

fn main() -> io::Result<()> {
    let out = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    let page = Path::new(&out).join("page");
    if page.exists() {
        fs::remove_dir_all(&page)?;
    }
    fs::create_dir_all(&page)?;
    let built = Path::new("../dashboards/dist");
    if built.join("index.html").exists() {
        println!("cargo::rerun-if-changed=../dashboards/dist");
        copy(built, &page)?;
    } else {
        // A path that does not exist would make cargo run this every time; its folder tells when it appears.
        println!("cargo::rerun-if-changed=../dashboards");
        fs::copy("page/notice.html", page.join("index.html"))?;
    }
    println!("cargo::rerun-if-changed=page");
    println!("cargo::rerun-if-changed=build.rs");
    Ok(())
}

fn copy(from: &Path, to: &Path) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            fs::create_dir_all(&target)?;
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
