//! `midcourse serve`: the embedded engine behind an HTTP server.

use std::net::{IpAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use midcourse_core::report::strip_controls;
use midcourse_engine::local::{BatchLimits, LoadOptions};

use crate::args::ServeArgs;
use crate::failure::Failure;
use crate::serve::Server;
use crate::signals::Signals;
use crate::terminal::{print, say};
use crate::{adapted, framing, model, plan};

/// Holds the key that clients must show.
const KEY: &str = "MIDCOURSE_API_KEY";
/// How often it is looked whether a signal has come.
const LOOK: Duration = Duration::from_millis(50);

/// Runs the command.
pub(crate) fn run(args: &ServeArgs) -> Result<u8> {
    plan::check_counts(&[
        ("threads", args.threads),
        ("batch-paths", args.batch_paths),
        ("max-queue", Some(args.max_queue)),
    ])?;
    let signals = Signals::listen().context("listening for signals")?;
    let key = key()?;
    if !args.host.is_loopback() && key.is_none() {
        say(&format!(
            "warning: --host {}: whoever reaches this address can use the model; {KEY} in the environment demands a key",
            args.host
        ));
    }
    let listener = listen((args.host, args.port))?;
    if let Some(threads) = args.threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global().context("starting threads")?;
    }
    let limits = BatchLimits { paths: args.batch_paths.unwrap_or(usize::MAX), ..BatchLimits::default() };
    let template = framing::choice(args.framing.chat_template.as_deref());
    let (dtype, adapter) = (args.dtype.unwrap_or_default(), args.adapter.clone());
    let options = LoadOptions { limits, template, dtype, adapter };
    let mut model = model::embedded(&args.model, None, &options)?;
    model.template = model.template.framed(args.framing.framing());
    say(&format!("chat template: {}", strip_controls(model.template.origin())));
    framing::note(&args.framing.framing(), &model.template).into_iter().for_each(say);
    adapted::warn(args.adapter.as_deref(), &model.identity, &args.framing.framing().system)?;
    let address = listener.local_addr().context("reading the server's address")?;
    let name = model.identity.name.clone();
    let server = Arc::new(Server::new(model, args.max_queue, key.as_deref()));
    server.start(listener);
    print(&format!("http://{address}/v1#{name}\n"));
    while !signals.stopping() {
        thread::sleep(LOOK);
    }
    server.stop();
    signals.failure("start it again with the same command".into()).map_or(Ok(0), |failure| match failure {
        Failure::Signal { name, code, .. } => {
            say(&format!("stopped by {name}"));
            Ok(code)
        }
        other => Err(other.into()),
    })
}

/// The key in the environment; an empty one is none.
fn key() -> Result<Option<String>> {
    let Some(key) = std::env::var_os(KEY).filter(|key| !key.is_empty()) else { return Ok(None) };
    let key = key.into_string().ok().filter(|key| key.bytes().all(|byte| byte.is_ascii_graphic()));
    let refused = || Failure::Usage {
        problem: format!("{KEY}: expected letters, digits and signs of ASCII without spaces"),
        hint: "it is sent in a header; choose another key".into(),
    };
    Ok(Some(key.ok_or_else(refused)?))
}

fn listen((host, port): (IpAddr, u16)) -> Result<TcpListener> {
    let listener = TcpListener::bind((host, port)).map_err(|e| Failure::Usage {
        problem: format!("--host {host} --port {port}: {e}"),
        hint: "another program may listen there; --port 0 takes any that is free".into(),
    })?;
    Ok(listener)
}
