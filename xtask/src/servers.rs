//! `cargo xtask test-servers`: the same evaluation embedded and through real servers, held against each other.
//!
//! `midcourse serve` must give the same trials byte for byte. llama.cpp and vLLM compute with other numbers, so
//! theirs are other trials; the paired interval of the difference in `Corr_mean` must hold 0.

use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use crate::{binary, model_path, python, root, run, say};

const USAGE: &str = "usage: cargo xtask test-servers [serve] [llama.cpp] [vllm] [--limit N]
vllm fetches some gigabytes and is asked only when it is named";
/// A server that is not there after this is not coming.
const PATIENCE: Duration = Duration::from_secs(300);

/// A server under test; it is stopped when this is dropped.
struct Server {
    child: Child,
    address: String,
    /// Kept, so that the server can go on writing.
    _output: Option<BufReader<ChildStdout>>,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs the command with what follows it on the command line.
pub(crate) fn test(arguments: &[String]) -> Result<(), String> {
    let (names, limit) = parse(arguments)?;
    let model = model_path("smollm2")?;
    let dir = root().join("target/xtask/servers");
    let _ = std::fs::remove_dir_all(&dir);
    std::fs::create_dir_all(&dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let runs = Runs { dir, limit };
    let embedded = runs.eval("embedded", "smollm2")?;
    for name in &names {
        let server = match name.as_str() {
            "serve" => serve()?,
            "llama.cpp" => llama_cpp(&model)?,
            _ => vllm(&model, &runs.dir)?,
        };
        say(&format!("{name} listens at {}", server.address));
        let through = runs.eval(name, &server.address)?;
        drop(server);
        if name == "serve" {
            same_bytes(&embedded, &through)?;
        } else {
            compare(&embedded, &through)?;
        }
    }
    Ok(())
}

fn parse(arguments: &[String]) -> Result<(Vec<String>, Option<String>), String> {
    let mut names = Vec::new();
    let mut limit = None;
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "serve" | "llama.cpp" | "vllm" => names.push(argument.clone()),
            "--limit" => limit = Some(rest.next().ok_or(USAGE)?.clone()),
            other => return Err(format!("{other}: expected a server or --limit\n{USAGE}")),
        }
    }
    if names.is_empty() {
        names = ["serve", "llama.cpp"].map(str::to_owned).to_vec();
    }
    Ok((names, limit))
}

/// Where runs are put, and how many samples of each file they have.
struct Runs {
    dir: PathBuf,
    limit: Option<String>,
}

impl Runs {
    /// The quick preset on the sandbox set.
    fn eval(&self, name: &str, model: &str) -> Result<PathBuf, String> {
        let out = self.dir.join(name);
        let mut eval = Command::new(binary());
        eval.args(["eval", "--preset", "quick", "--seed", "7", "--model", model, "--out"]).arg(&out);
        eval.args(["--data", "data/sandbox/eval.jsonl", "--benign", "data/sandbox/benign.jsonl"]);
        if let Some(limit) = &self.limit {
            eval.args(["--limit", limit]);
        }
        run(eval.current_dir(root()).stdout(Stdio::null()))?;
        Ok(out)
    }
}

fn serve() -> Result<Server, String> {
    let mut serve = Command::new(binary());
    serve.args(["serve", "--model", "smollm2", "--port", "0"]).stderr(Stdio::null());
    announced(&mut serve)
}

fn llama_cpp(model: &Path) -> Result<Server, String> {
    let python = python::environment("llama-cpp", &root().join("perf/servers/llama-cpp.txt"))?;
    let mut server = Command::new(python);
    server.arg(root().join("perf/servers/llama_cpp.py")).arg(model).arg("smollm2").stderr(Stdio::null());
    announced(&mut server)
}

/// Starts a server that prints its address as a line.
fn announced(command: &mut Command) -> Result<Server, String> {
    let mut child =
        command.stdout(Stdio::piped()).spawn().map_err(|error| format!("{command:?}: {error}"))?;
    let mut output = child.stdout.take().map(BufReader::new).ok_or("no output of the server")?;
    let mut address = String::new();
    let read = output.read_line(&mut address).map_err(|error| error.to_string());
    let mut server = Server { child, address: address.trim().to_owned(), _output: Some(output) };
    read?;
    if server.address.is_empty() {
        let status = server.child.wait().map_err(|error| error.to_string())?;
        return Err(format!("{command:?}: {status} before it listened"));
    }
    Ok(server)
}

fn vllm(model: &Path, dir: &Path) -> Result<Server, String> {
    let weights = dir.join("smollm2");
    let mut convert = Command::new(python::references()?);
    run(convert.arg(root().join("perf/servers/to_safetensors.py")).arg(model).arg(&weights))?;
    let python = python::environment("vllm", &root().join("perf/servers/vllm.txt"))?;
    let port = free_port()?;
    let mut command = Command::new(python);
    command.args(["-m", "vllm.entrypoints.openai.api_server", "--served-model-name", "smollm2"]);
    command.args(["--dtype", "float32", "--enforce-eager", "--max-model-len", "2048"]);
    // On a CPU vLLM 0.32 fails when a seeded request is computed in chunks: its generator there has no offset.
    command.args(["--no-enable-chunked-prefill", "--max-num-batched-tokens", "16384"]);
    command.args(["--port", &port.to_string(), "--model"]).arg(&weights);
    command.env("VLLM_CPU_KVCACHE_SPACE", "2").env("HF_HUB_OFFLINE", "1");
    let child = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let child = child.map_err(|error| format!("vllm: {error}"))?;
    let address = format!("http://127.0.0.1:{port}/v1#smollm2");
    let mut server = Server { child, address, _output: None };
    let started = Instant::now();
    while !answers(port) {
        if let Ok(Some(status)) = server.child.try_wait() {
            return Err(format!("vllm: {status} before it listened"));
        }
        if started.elapsed() > PATIENCE {
            return Err(format!("vllm: not there after {} s", PATIENCE.as_secs()));
        }
        std::thread::sleep(Duration::from_millis(500));
    }
    Ok(server)
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    listener.local_addr().map(|address| address.port()).map_err(|error| error.to_string())
}

/// Whether a server says that it is healthy.
fn answers(port: u16) -> bool {
    use std::io::Write;
    let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) else { return false };
    let _ = stream.set_read_timeout(Some(Duration::from_secs(5)));
    let request = b"GET /health HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n";
    let mut head = [0; 12];
    stream.write_all(request).and_then(|()| stream.read_exact(&mut head)).is_ok() && head.ends_with(b"200")
}

fn same_bytes(a: &Path, b: &Path) -> Result<(), String> {
    for name in ["trials.jsonl", "judgements.jsonl"] {
        let read = |run: &Path| std::fs::read(run.join(name)).map_err(|error| format!("{name}: {error}"));
        if read(a)? != read(b)? {
            return Err(format!("serve: {name} differs from the embedded run's"));
        }
    }
    say("serve: trials and judgements are those of the embedded run, byte for byte");
    Ok(())
}

fn compare(a: &Path, b: &Path) -> Result<(), String> {
    let mut compare = Command::new(python::system_python());
    run(compare.arg(root().join("perf/servers/compare.py")).arg(a).arg(b))
}
