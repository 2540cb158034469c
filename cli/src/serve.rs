//! `wireproof serve`: audits captures into a store, then serves the API and the dashboard.

use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ::store::answer::MeshSnapshot;
use ::store::clickhouse::Address;
use ::store::{Batch, Store};
use analyzer::translation;
use anyhow::{Context as _, anyhow};
use api::Policies as _;
use api::config::Bind;
use api::{Bounds, Task, Upkeep};
use capture::engine::Limits;
use flow::Timestamp;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::net::TcpListener;

use crate::agent::Agent;
use crate::args::Serve;
use crate::certificate::Files;
use crate::collect::Intake;
use crate::exit::{Fatal, Status};
use crate::in_force::{InForce, Known};
use crate::looks::Looks;
use crate::token::Kept;
use crate::{input, store, sweep};

/// How many flows go to the store at once: one transaction.
const BATCH: usize = 20_000;

pub(crate) fn run(options: &Serve) -> Result<Status, Fatal> {
    tracing_subscriber::fmt()
        .with_env_filter(
            // What kube warns of, the watch says itself, and what to do about it.
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| "warn,kube_client=error,kube_runtime=error".into()),
        )
        .with_writer(std::io::stderr)
        .with_ansi(anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never)
        .init();
    let agents = options.agent_token_file.as_deref().map(Kept::read).transpose()?;
    let readers = options.token_file.as_deref().map(Kept::read).transpose()?;
    let bind = Bind::new(options.listen, readers.as_ref().map(Kept::token)).map_err(Fatal::usage)?;
    edges_outlive_flows(options)?;
    let files = Files::named(&options.tls);
    let tls = files.as_ref().map(Files::read).transpose()?;
    let access = options.mesh.cluster.access();
    // Before they are read, so that no change in between is missed. Standard input is there once.
    let paths = options.mesh.paths.clone();
    let state = paths.iter().all(|path| path != Path::new("-")).then(|| input::state_of(&paths));
    let declared = if access.is_none() { Some(input::mesh(&options.mesh)?) } else { None };
    let declared_status = declared.as_ref().map_or(Status::Clean, input::Declared::report_errors);
    let agent = Agent::found(&options.live)?;
    if agent.is_some() {
        // Before there are threads: each has capabilities of its own. The agent gets its own from its file, or from root.
        crate::agent::give_up_capabilities().context("giving up capabilities").map_err(Fatal::environment)?;
    }
    let runtime = tokio::runtime::Runtime::new()?;
    let served = runtime.block_on(async {
        let store = store::open(&options.store).await?;
        // The port first: a run that cannot serve should not take the time to audit.
        let listener = TcpListener::bind(bind.address())
            .await
            .with_context(|| {
                format!("cannot listen on {}; choose another address with --listen", bind.address())
            })
            .map_err(Fatal::environment)?;
        let address = listener.local_addr()?;
        let bounds = bounds(options);
        let upkeep = Upkeep::default();
        let (mut watch, mut known) = (None, None);
        let in_force = match (&access, declared) {
            (Some(access), _) => {
                let server = cluster::connect(access).await.map_err(Fatal::input)?;
                let watched =
                    cluster::Options { configs: options.mesh.cluster.configs(), ..Default::default() };
                let begun = cluster::watch(&server, &watched);
                let in_force = InForce::watched(begun.progress.clone(), Arc::clone(&store));
                watch = Some(begun);
                in_force
            }
            (None, Some(declared)) => {
                let snapshot = MeshSnapshot::new(now(), declared.manifests);
                store.put_mesh(&snapshot).await.map_err(Fatal::environment)?;
                known = state.map(|state| Known { paths, state, errors: declared.errors });
                InForce::fixed(declared.mesh, Arc::clone(&store))
            }
            (None, None) => return Err(Fatal::usage(anyhow!("no declarations were named"))),
        };
        let in_force = Arc::new(in_force);
        let following = watch.map(|watch| {
            let in_force = Arc::clone(&in_force);
            tokio::spawn(async move { in_force.follow(watch).await })
        });
        if let Some(known) = known {
            let (in_force, looks) = (Arc::clone(&in_force), Looks::begin()?);
            let upkeep = upkeep.clone();
            tokio::spawn(async move { in_force.follow_files(known, looks, upkeep).await });
        }
        let observed_status = audit(&options.input, &in_force, &*store).await?;
        tokio::spawn(keep(Arc::clone(&store), options.keep, options.keep_edges, upkeep.clone()));
        let intake = Arc::new(Intake::new(Arc::clone(&in_force), Arc::clone(&store)));
        tokio::spawn(sweep::forever(Arc::clone(&intake)));
        let mut state = api::State::new(store, None, bind)
            .watching(in_force)
            .counting(upkeep.clone())
            .bounded(bounds)
            .collecting(intake, agents.as_ref().map(Kept::token));
        if files.as_ref().is_some_and(Files::ask_clients) {
            state = state.certified();
        }
        for kept in [agents, readers].into_iter().flatten() {
            tokio::spawn(kept.renew(Looks::begin()?, upkeep.clone()));
        }
        let scheme = if tls.is_some() { "https" } else { "http" };
        anstream::eprintln!("wireproof: serving on {scheme}://{address} (Ctrl-C ends it)");
        if let Some((files, tls)) = files.zip(tls.clone()) {
            tokio::spawn(files.renew(tls, Looks::begin()?, upkeep));
        }
        let watching = agent.map(|agent| agent.watch(state.clone()));
        let (stop, failure) = match watching {
            Some(watching) => (Some(watching.stop), Some(watching.failure)),
            None => (None, None),
        };
        let (tell, why) = tokio::sync::oneshot::channel();
        let over = async move {
            let fatal = tokio::select! {
                () = ended() => return,
                () = done(following) => Fatal::environment(cluster::ListError::TooMuch),
                Some(fatal) = failed(failure) => fatal,
            };
            let _ = tell.send(fatal);
        };
        api::serve(listener, tls, state, over).await;
        if let Some(stop) = stop {
            stop.now().await;
        }
        match why.await {
            Ok(fatal) => Err(fatal),
            Err(_) => Ok(observed_status),
        }
    })?;
    Ok(served.worse(declared_status))
}

/// How many files are open beside connections: the store's, declarations, what the agent has.
const FILES: usize = 256;

/// Tells how many connections may be open at a time, and has the system let the process open as many files. Where it does not, fewer are taken,
/// so that the store and the declarations can be read whoever connects.
fn bounds(options: &Serve) -> Bounds {
    let count = |files: u64| usize::try_from(files).unwrap_or(usize::MAX);
    let clients = options.max_clients.get();
    let wanted = clients.saturating_add(FILES);
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|files| count(files) < wanted) {
        let most = limit.maximum.unwrap_or(u64::MAX);
        let raised = Rlimit { current: Some(most.min(wanted as u64)), ..limit };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            limit = raised;
        }
    }
    let may = limit.current.map_or(usize::MAX, count);
    let in_all = clients.min(may.saturating_sub(FILES).max(1));
    if in_all < clients {
        tracing::warn!(
            files = may,
            connections = in_all,
            "the process may not open as many files as --max-clients asks for"
        );
    }
    let of_one = options.max_clients_per_address.map_or(in_all / 4, NonZeroUsize::get);
    Bounds { in_all, of_one: of_one.clamp(1, in_all) }
}

const DAY: Duration = Duration::from_secs(86_400);

/// Refuses a time for edges that keeps nothing.
fn edges_outlive_flows(options: &Serve) -> Result<(), Fatal> {
    let Some((flows, edges)) = options.keep.zip(options.keep_edges) else { return Ok(()) };
    if flows < DAY {
        return Err(Fatal::usage(anyhow!(
            "--keep must be a day at least with --keep-edges: days are summed up once they have ended"
        )));
    }
    if edges <= flows {
        return Err(Fatal::usage(anyhow!(
            "--keep-edges must be longer than --keep: edges have their flows for as long"
        )));
    }
    if !Address::is_meant(&options.store.place) {
        return Err(Fatal::usage(anyhow!(
            "--keep-edges is for a store in ClickHouse: a file forgets edges with their flows"
        )));
    }
    Ok(())
}

/// Waits for the end of the watch on a cluster, which ends only where there is too much; for ever without one.
async fn done(following: Option<tokio::task::JoinHandle<()>>) {
    match following {
        Some(following) => drop(following.await),
        None => std::future::pending().await,
    }
}

/// Waits for what makes live capture impossible; for ever where there is none.
async fn failed(failure: Option<tokio::sync::oneshot::Receiver<Fatal>>) -> Option<Fatal> {
    match failure {
        Some(failure) => match failure.await {
            Ok(fatal) => Some(fatal),
            Err(_) => std::future::pending().await,
        },
        None => std::future::pending().await,
    }
}

/// How often is looked whether declarations are known yet.
const LOOK: Duration = Duration::from_millis(200);

/// Judges captures into the store, once there are declarations. A capture that was recorded before changes nothing.
async fn audit(files: &[PathBuf], in_force: &InForce, store: &dyn Store) -> Result<Status, Fatal> {
    if files.is_empty() {
        return Ok(Status::Clean);
    }
    while in_force.mesh().is_none() {
        tokio::time::sleep(LOOK).await;
    }
    let observed = input::captures(files, Limits::default(), 1);
    let source = files.iter().map(|file| file.display().to_string()).collect::<Vec<_>>().join(" ");
    let count = observed.flows.len();
    let judged = in_force.judge(observed.flows).await.map_err(Fatal::environment)?;
    let mut judged = judged.ok_or_else(|| Fatal::environment(anyhow!("the flows could not be judged")))?;
    translation::join(&mut judged);
    for flows in judged.chunks(BATCH) {
        let flows = flows.to_vec();
        store.record(Batch { flows, ..Batch::default() }).await.map_err(Fatal::environment)?;
    }
    let coverage = [(source, observed.coverage)].into();
    store.record(Batch { coverage, ..Batch::default() }).await.map_err(Fatal::environment)?;
    anstream::eprintln!("wireproof: audited {count} flows");
    Ok(observed.status)
}

/// How long is waited between two looks for flows to forget.
const SWEEP: Duration = Duration::from_secs(3600);

/// How long is waited where the last look failed.
const RETRY: Duration = Duration::from_secs(300);

/// Has the store forget what began longer ago than `time`, now and every hour; edges only what is older than `edges`. What fails is tried
/// again, and counted.
async fn keep(store: Arc<dyn Store>, time: Option<Duration>, edges: Option<Duration>, upkeep: Upkeep) {
    loop {
        let summed = match time.zip(edges) {
            Some((flows, edges)) => store.keep_edges(flows, edges).await,
            None => Ok(()),
        };
        // Flows that are not summed up stay for now.
        let failed = match summed {
            Ok(()) => store.keep(time, now()).await.map_err(|error| (Task::Forget, error)),
            Err(error) => Err((Task::SumDays, error)),
        };
        if let Err((task, error)) = &failed {
            upkeep.failed(*task);
            tracing::warn!(%error, task = task.name(), "nothing new is forgotten yet, and it is tried again");
        }
        tokio::time::sleep(if failed.is_ok() { SWEEP } else { RETRY }).await;
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "declarations read from files are in force from when they are read"
)]
pub(crate) fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_nanos(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// Ends at Ctrl-C, or when the service manager asks.
async fn ended() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        let _ = tokio::signal::ctrl_c().await;
        return;
    };
    tokio::select! {
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
}
