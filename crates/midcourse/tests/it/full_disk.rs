//! A disk that fills up while a run is recorded: nothing recorded is lost, and the run can go on.

use std::process::Command;

use crate::fixtures::{self, Fixture, MIDCOURSE, Output};

/// Enough paths that their records outgrow every limit below.
const PATHS: [&str; 4] = ["--prefix-lengths", "5,10", "--paths", "60"];
const RECORDS: [&str; 3] = ["trials.jsonl", "judgements.jsonl", "samples.jsonl"];

/// A command in a shell that limits it; the command line stands in the shell's positional parameters.
pub(crate) fn in_shell(script: &str, args: &[String]) -> Command {
    let mut command = fixtures::command("sh");
    command.args(["-c", script, MIDCOURSE]).args(args);
    command
}

fn assert_disk_full(output: &Output, system: &str) {
    assert_eq!(output.code, 5, "{output:?}");
    let error = output.stderr.lines().find(|line| line.starts_with("error: ")).unwrap();
    assert!(error.contains(".jsonl: ") && error.contains(system), "{error}");
    assert!(
        output
            .stderr
            .ends_with("hint: check that the disk has room and that the directory may be written to\n")
    );
}

/// What was recorded in `out` stands there still, and resuming makes the same files as the run `whole`.
fn assert_resumes(fixture: &Fixture, out: &str, whole: &str) {
    let recorded = fixture.read(&format!("{out}/trials.jsonl"));
    let recorded: Vec<&str> = recorded.split_inclusive('\n').filter(|line| line.ends_with('\n')).collect();
    assert!(!recorded.is_empty(), "the disk was full before anything was recorded");
    let resumed = fixtures::run(&fixture.eval(out, &[&PATHS[..], &["--resume"]].concat())).done();
    let trials = fixture.read(&format!("{out}/trials.jsonl"));
    assert!(recorded.iter().all(|line| trials.contains(line)), "{resumed:?}");
    for name in RECORDS {
        assert_eq!(
            fixture.read(&format!("{out}/{name}")),
            fixture.read(&format!("{whole}/{name}")),
            "{name}"
        );
    }
}

#[test]
fn a_limit_of_the_file_size_stops_a_run_that_can_be_resumed() {
    let fixture = Fixture::new();
    fixture.run_eval("whole", &PATHS);
    // Blocks of 512 bytes: 24 KB, less than half of the trials.
    let output = Output::of(&mut in_shell(
        "trap '' XFSZ; ulimit -f 48; exec \"$0\" \"$@\"",
        &fixture.eval("cut", &PATHS),
    ));
    assert_disk_full(&output, "File too large");
    assert_resumes(&fixture, "cut", "whole");
}

/// Needs a kernel that lets this user mount a file system in a namespace of its own.
#[test]
fn a_full_file_system_stops_a_run_that_can_be_resumed() {
    let fixture = Fixture::new();
    fixture.run_eval("whole", &PATHS);
    std::fs::create_dir_all(fixture.path("disk")).unwrap();
    let mounted = "mount -t tmpfs -o size=40k tmpfs \"$DISK\"";
    let may_mount = unshared(&fixture, mounted, &[]);
    if may_mount.code != 0 {
        eprintln!("skipped: {}", may_mount.stderr);
        return;
    }
    // What the disk held is copied out before its namespace goes.
    let script =
        format!("{mounted}; \"$0\" \"$@\"; code=$?; cp -r \"$DISK/run\" \"$DISK/../cut\"; exit $code");
    let output = unshared(&fixture, &script, &fixture.eval("disk/run", &PATHS));
    assert_disk_full(&output, "No space left on device");
    assert_resumes(&fixture, "cut", "whole");
}

pub(crate) fn unshared(fixture: &Fixture, script: &str, args: &[String]) -> Output {
    let mut command = fixtures::command("unshare");
    command.env("DISK", fixture.path("disk"));
    command.args(["--map-root-user", "--mount", "sh", "-c", script, MIDCOURSE]).args(args);
    match command.output() {
        Ok(_) => Output::of(&mut command),
        Err(error) => Output { code: -1, stdout: String::new(), stderr: error.to_string() },
    }
}
