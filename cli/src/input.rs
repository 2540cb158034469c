//! Reads what the commands work on: captures into flows, YAML into a mesh.

use std::collections::{BTreeMap, HashSet};
use std::convert::Infallible;
use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use analyzer::mesh::{FILE_BYTES, Manifest, Mesh};
use analyzer::report::InputError;
use anyhow::{Context as _, anyhow};
use capture::engine::{Engine, Frame, Limits, LinkType};
use capture::source::file::Reader;
use capture::workers::Workers;
use flow::{Coverage, Flow, Timestamp};

use crate::args::Declarations;
use crate::exit::{Fatal, Status};
use crate::mesh;
use crate::standard_input::StandardInput;

/// What captures came to.
#[derive(Debug)]
pub(crate) struct Observed {
    /// Every flow as it stood at its end, ordered by start, then id.
    pub(crate) flows: Vec<Flow>,
    /// What the flows rest on; damage of the inputs included.
    pub(crate) coverage: Coverage,
    /// [`Status::Input`] if a capture was damaged or could not be read.
    pub(crate) status: Status,
}

/// Reads captures as one and keeps every flow.
pub(crate) fn captures(paths: &[PathBuf], limits: Limits, threads: usize) -> Observed {
    let mut flows = Vec::new();
    let keep = |flow| -> Result<(), Infallible> {
        flows.push(flow);
        Ok(())
    };
    let Ok((coverage, status)) = observe(paths, limits, threads, keep, || Ok(()));
    flows.sort_by_key(|flow| (flow.start, flow.id));
    Observed { flows, coverage, status }
}

/// How many frames are read before the flows that they ended are given away.
const BATCH: usize = 64;

/// Reads captures as one, in order of time, so that a connection that spans rotated files is one flow, and gives every
/// flow to `each` once it is over, in the order in which that became known. `pause` is called when all that the input
/// held so far has been given away. `threads` work on it; their number changes no answer.
///
/// Damage in one file ends that file; what came before it and the other files count.
///
/// # Errors
///
/// Returns the first error of `each` or `pause`, and reads no further.
pub(crate) fn observe<E>(
    paths: &[PathBuf],
    limits: Limits,
    threads: usize,
    mut each: impl FnMut(Flow) -> Result<(), E>,
    mut pause: impl FnMut() -> Result<(), E>,
) -> Result<(Coverage, Status), E> {
    let mut observer = Observer::new(Limits { report_settled: false, ..limits }, threads);
    let mut damaged = Vec::new();
    let mut unread = Unread::default();
    let mut opened = Vec::new();
    for path in paths {
        match open(path) {
            Ok(reader) => opened.push((path.as_path(), reader)),
            Err(error) => damaged.push(format!("{}: {error:#}", shown(path))),
        }
    }
    if let [(path, reader)] = opened.as_mut_slice() {
        let mut unnamed = 0;
        while let Some(next) = reader.batch(BATCH) {
            let mut met = unnamed;
            match next {
                Ok(frames) => observer.frames(frames.inspect(|frame| {
                    unread.note(path, frame.link);
                    met = met.max(frame.interface.saturating_add(1));
                })),
                Err(error) => damaged.push(format!("{}: {error}", shown(path))),
            }
            for interface in unnamed..met {
                if let Some(name) = reader.interface_name(interface) {
                    observer.name_interface(interface, name);
                }
            }
            unnamed = met;
            drain(&mut observer, &mut each)?;
            if !reader.has_more_at_hand() {
                pause()?;
            }
        }
    } else {
        let mut interfaces = Interfaces::default();
        merge(opened, &mut damaged, |path, frame, name| {
            unread.note(path, frame.link);
            let interface = interfaces.number(frame.interface, name, &mut observer);
            observer.frames(std::iter::once(Frame { interface, ..*frame }));
            drain(&mut observer, &mut each)
        })?;
    }
    damaged.extend(unread.messages());
    observer.finish();
    drain(&mut observer, &mut each)?;

    for damage in &damaged {
        anstream::eprintln!("wireproof: {damage}");
    }
    let status = if damaged.is_empty() { Status::Clean } else { Status::Input };
    let mut coverage = observer.coverage();
    coverage.damaged.extend(damaged);
    Ok((coverage, status))
}

/// The engine, on one thread or on several: the answers are the same.
enum Observer {
    Alone(Box<Engine>),
    Together(Box<Workers>),
}

impl Observer {
    fn new(limits: Limits, threads: usize) -> Self {
        match threads {
            0 | 1 => Self::Alone(Box::new(Engine::new(limits))),
            // One of them reads.
            _ => Self::Together(Box::new(Workers::new(&limits, threads.saturating_sub(1)))),
        }
    }

    fn name_interface(&mut self, interface: u32, name: &str) {
        match self {
            Self::Alone(engine) => engine.name_interface(interface, name),
            Self::Together(workers) => workers.name_interface(interface, name),
        }
    }

    fn frames<'a>(&mut self, frames: impl IntoIterator<Item = Frame<'a>>) {
        match self {
            Self::Alone(engine) => engine.frames(frames),
            Self::Together(workers) => workers.frames(frames),
        }
    }

    fn finish(&mut self) {
        match self {
            Self::Alone(engine) => engine.finish(),
            Self::Together(workers) => workers.finish(),
        }
    }

    fn poll(&mut self) -> Option<Flow> {
        match self {
            Self::Alone(engine) => engine.poll(),
            Self::Together(workers) => workers.poll(),
        }
    }

    fn coverage(&self) -> Coverage {
        match self {
            Self::Alone(engine) => engine.coverage(),
            Self::Together(workers) => workers.coverage(),
        }
    }
}

fn drain<E>(observer: &mut Observer, each: &mut impl FnMut(Flow) -> Result<(), E>) -> Result<(), E> {
    while let Some(flow) = observer.poll() {
        each(flow)?;
    }
    Ok(())
}

/// The interfaces of several files: one name is one place of capture, whatever number each file gives it.
#[derive(Debug, Default)]
struct Interfaces(BTreeMap<String, u32>);

impl Interfaces {
    fn number(&mut self, in_file: u32, name: Option<&str>, observer: &mut Observer) -> u32 {
        let Some(name) = name else { return in_file };
        if let Some(number) = self.0.get(name) {
            return *number;
        }
        // Counted down from the top, where no interface without a name is.
        let number = u32::MAX.saturating_sub(u32::try_from(self.0.len()).unwrap_or(u32::MAX));
        self.0.insert(name.to_owned(), number);
        observer.name_interface(number, name);
        number
    }
}

/// Frames of link types that are not read, by file and type: whole interfaces that an answer would silently lack.
#[derive(Debug, Default)]
struct Unread {
    frames: BTreeMap<(String, u16), u64>,
    /// The last link type that is read: mostly the next frame's too.
    read: Option<LinkType>,
}

impl Unread {
    #[inline]
    fn note(&mut self, path: &Path, link: LinkType) {
        if self.read != Some(link) {
            self.note_another(path, link);
        }
    }

    #[inline(never)]
    fn note_another(&mut self, path: &Path, link: LinkType) {
        if link.is_read() {
            self.read = Some(link);
        } else {
            *self.frames.entry((shown(path), link.0)).or_default() += 1;
        }
    }

    fn messages(&self) -> impl Iterator<Item = String> {
        self.frames.iter().map(|((file, link), frames)| {
            format!(
                "{file}: {frames} frames have link type {link}, which is not read; \
                 capture on an Ethernet, cooked or raw IP interface"
            )
        })
    }
}

fn open(path: &Path) -> anyhow::Result<Reader<Box<dyn Read>>> {
    let input: Box<dyn Read> = if path == Path::new("-") {
        Box::new(StandardInput::open().context("cannot be opened")?)
    } else {
        if path.is_dir() {
            return Err(anyhow!("is a folder; name the capture files in it"));
        }
        Box::new(File::open(path).context("cannot be opened")?)
    };
    Ok(Reader::new(input)?)
}

/// A frame that outlives the reader's buffer.
struct Held {
    at: Timestamp,
    link: LinkType,
    interface: u32,
    original_len: u32,
    bytes: Vec<u8>,
}

fn merge<E>(
    opened: Vec<(&Path, Reader<Box<dyn Read>>)>,
    damaged: &mut Vec<String>,
    mut each: impl FnMut(&Path, &Frame<'_>, Option<&str>) -> Result<(), E>,
) -> Result<(), E> {
    let mut inputs: Vec<_> = opened.into_iter().map(|(path, reader)| (path, reader, None)).collect();
    for (path, reader, held) in &mut inputs {
        *held = hold(path, reader, damaged);
    }
    loop {
        let earliest = inputs
            .iter()
            .enumerate()
            .filter_map(|(index, (_, _, held))| held.as_ref().map(|held| (held.at, index)))
            .min()
            .map(|(_, index)| index);
        let Some((path, reader, slot)) = earliest.and_then(|index| inputs.get_mut(index)) else {
            return Ok(());
        };
        let following = if let Some(held) = slot.take() {
            let frame = Frame {
                at: held.at,
                link: held.link,
                interface: held.interface,
                original_len: held.original_len,
                bytes: &held.bytes,
            };
            each(path, &frame, reader.interface_name(held.interface))?;
            hold(path, reader, damaged)
        } else {
            None
        };
        *slot = following;
    }
}

fn hold(path: &Path, reader: &mut Reader<Box<dyn Read>>, damaged: &mut Vec<String>) -> Option<Held> {
    loop {
        match reader.next()? {
            Ok(frame) => {
                return Some(Held {
                    at: frame.at,
                    link: frame.link,
                    interface: frame.interface,
                    original_len: frame.original_len,
                    bytes: frame.bytes.to_vec(),
                });
            }
            Err(error) => damaged.push(format!("{}: {error}", shown(path))),
        }
    }
}

fn shown(path: &Path) -> String {
    if path == Path::new("-") { "standard input".to_owned() } else { path.display().to_string() }
}

/// The most bytes of declarations that are read, over all files.
const MESH_BYTES: usize = 1024 * 1024 * 1024;

/// The most files of declarations that are read.
const MESH_FILES: usize = 100_000;

/// The declarations, and what could not be used of them.
#[derive(Debug)]
pub(crate) struct Declared {
    /// All that could be read.
    pub(crate) mesh: Mesh,
    /// The files as they were read: what a store keeps as the mesh's snapshot.
    pub(crate) manifests: Vec<Manifest>,
    /// What could not, in order of file and line.
    pub(crate) errors: Vec<InputError>,
}

impl Declared {
    /// Prints the errors and returns [`Status::Input`] if a document was left out.
    pub(crate) fn report_errors(&self) -> Status {
        for error in &self.errors {
            let place =
                error.line.map_or_else(|| error.file.clone(), |line| format!("{}:{line}", error.file));
            let kind = if error.fatal { "error" } else { "warning" };
            anstream::eprintln!("wireproof: {kind}: {place}: {}", error.message);
        }
        if self.errors.iter().any(|error| error.fatal) { Status::Input } else { Status::Clean }
    }
}

/// Reads the YAML and JSON files that `--mesh` names, folders recursively and in order of name; `-` is standard input. Or asks a
/// cluster.
///
/// # Errors
///
/// Returns an error if a named path does not exist or nothing could be read at all, or if the cluster does not tell all.
pub(crate) fn mesh(declarations: &Declarations) -> Result<Declared, Fatal> {
    if let Some(access) = declarations.cluster.access() {
        let manifests = mesh::manifests(&access, &declarations.cluster.configs())?;
        let (mesh, errors) = Mesh::load(manifests.clone());
        return Ok(Declared { mesh, manifests, errors });
    }
    mesh_in(&declarations.paths)
}

/// What the files that hold declarations are like: each with its length and when it, or who may read it, was last changed. A
/// difference says that they changed.
pub(crate) fn state_of(paths: &[PathBuf]) -> FilesState {
    let (files, _) = files_in(paths);
    // Not the time of modification: copies keep that of what they are made of.
    let state = |file: &Path| fs::metadata(file).map(|met| (met.ctime(), met.ctime_nsec(), met.len())).ok();
    files.into_iter().map(|file| (state(&file), file)).collect()
}

/// Seconds and nanoseconds of the last change, and lengths, of files; absent where one cannot be looked at.
pub(crate) type FilesState = Vec<(Option<(i64, i64, u64)>, PathBuf)>;

fn files_in(paths: &[PathBuf]) -> (Vec<PathBuf>, Vec<InputError>) {
    let (mut files, mut errors, mut met) = (Vec::new(), Vec::new(), HashSet::new());
    for path in paths {
        if path.is_dir() {
            walk(path, &mut met, &mut files, &mut errors);
        } else {
            files.push(path.clone());
        }
    }
    (files, errors)
}

/// Reads the files under these paths.
pub(crate) fn mesh_in(paths: &[PathBuf]) -> Result<Declared, Fatal> {
    let (mut files, mut errors) = files_in(paths);
    if files.is_empty() {
        let named: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
        return Err(Fatal::input(anyhow!("{}: no .yaml, .yml or .json file in it", named.join(", "))));
    }
    if let Some(first) = files.get(MESH_FILES) {
        errors.push(unread(
            first,
            &anyhow!("is one of more than {MESH_FILES} files; it and all behind it are left out"),
        ));
        files.truncate(MESH_FILES);
    }
    let mut manifests = Vec::new();
    let mut total: usize = 0;
    for file in files {
        match text(&file, MESH_BYTES.saturating_sub(total)) {
            Ok(text) => {
                total = total.saturating_add(text.len());
                manifests.push(Manifest { file: shown(&file), text });
            }
            Err(error) => errors.push(unread(&file, &error)),
        }
    }
    if let ([], Some(error)) = (manifests.as_slice(), errors.first()) {
        return Err(Fatal::input(anyhow!("{}: {}", error.file, error.message)));
    }
    let (mesh, unread) = Mesh::load(manifests.clone());
    errors.extend(unread);
    // Where something could not be read, that is why.
    if let (0, false, Some(first)) = (mesh.objects, errors.iter().any(|error| error.fatal), manifests.first())
    {
        errors.clear();
        let message = "holds no Kubernetes object, and nothing else does: nothing is declared".to_owned();
        errors.push(InputError { file: first.file.clone(), line: None, message, fatal: true });
    }
    errors.sort_by(|a, b| (&a.file, a.line).cmp(&(&b.file, b.line)));
    Ok(Declared { mesh, manifests, errors })
}

fn unread(file: &Path, error: &anyhow::Error) -> InputError {
    InputError { file: shown(file), line: None, message: format!("{error:#}"), fatal: true }
}

/// Collects the files of a folder. A folder that is met twice, be it by a link that leads in a circle, is read once.
fn walk(folder: &Path, met: &mut HashSet<PathBuf>, files: &mut Vec<PathBuf>, errors: &mut Vec<InputError>) {
    let listed = fs::canonicalize(folder).and_then(|real| {
        if !met.insert(real) {
            return Ok(Vec::new());
        }
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect::<io::Result<Vec<_>>>()
    });
    let mut entries = match listed {
        Ok(entries) => entries,
        Err(error) => {
            errors.push(unread(folder, &anyhow::Error::new(error).context("cannot be read")));
            return;
        }
    };
    entries.sort();
    for path in entries {
        if path.is_dir() {
            walk(&path, met, files, errors);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "yaml" || extension == "yml" || extension == "json")
        {
            // Opening a pipe that nobody writes to would wait for ever.
            if path.exists() && !path.is_file() {
                errors.push(unread(&path, &anyhow!("is no file but a pipe, a socket or a device; left out")));
            } else {
                files.push(path);
            }
        }
    }
}

/// Reads a text of at most `room` bytes.
fn text(path: &Path, room: usize) -> anyhow::Result<String> {
    let input: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(File::open(path).context("cannot be opened")?)
    };
    let most = FILE_BYTES.min(room);
    let mut bytes = Vec::new();
    input
        .take(u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1))
        .read_to_end(&mut bytes)
        .context("cannot be read")?;
    if bytes.len() > FILE_BYTES {
        return Err(anyhow!("is longer than the {FILE_BYTES} bytes that are read of one file; split it"));
    }
    if bytes.len() > room {
        return Err(anyhow!(
            "is beyond the {MESH_BYTES} bytes that are read in all; leave out what is not needed"
        ));
    }
    decoded(bytes).ok_or_else(|| anyhow!("is not UTF-8 text; a YAML or JSON file is expected"))
}

/// Reads UTF-8, or UTF-16 that begins with its mark, as PowerShell's `>` writes it (YAML 1.2 section 5.2).
fn decoded(bytes: Vec<u8>) -> Option<String> {
    let units: fn([u8; 2]) -> u16 = match bytes.as_slice() {
        [0xff, 0xfe, ..] => u16::from_le_bytes,
        [0xfe, 0xff, ..] => u16::from_be_bytes,
        _ => return String::from_utf8(bytes).ok(),
    };
    let (pairs, rest) = bytes.as_chunks::<2>();
    let text = char::decode_utf16(pairs.iter().skip(1).copied().map(units)).collect::<Result<_, _>>().ok();
    text.filter(|_| rest.is_empty())
}
