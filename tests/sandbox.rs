//! What the papers promise of the sandbox, measured: functions that attack the host get no more memory, file handles, lines of the
//! log or time than they were given.

use std::io::Read;
use std::net::TcpListener;
use std::process::Stdio;
use std::time::{Duration, Instant};
use weir_tests::{Job, Ran, comes, repository};

/// A component of one of the modules in tests/guests/attacks.
fn component(module: &str) -> Vec<u8> {
    let around = read("component.wat");
    let text = around.replace("  ;; MODULE", &module.replacen("(module", "(core module $main", 1));
    wat::parse_str(text).unwrap_or_else(|e| panic!("no component: {e}"))
}

fn read(name: &str) -> String {
    let path = repository("tests/guests/attacks").join(name);
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// The module of fds.wat with another attack in place of its own: what `eval` does before it gives its results.
fn attack(text: &str) -> String {
    let fds = read("fds.wat");
    let own = fds.lines().find(|l| l.contains("(call $net) (drop)")).expect("its attack");
    fds.replace(own, text).replace("(i64.store (local.get $p) (i64.extend_i32_u (local.get $i)))", "")
}

/// What a run of weir came to, and the most that it had.
struct Measured {
    ran: Ran,
    /// Resident megabytes.
    memory: u64,
    /// Open files.
    files: usize,
    /// Processor time.
    worked: Duration,
}

fn number(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default();
    line.trim().trim_end_matches(" kB").parse().unwrap_or(0)
}

/// Runs a job and looks at its process as long as it is there.
fn measured(job: &Job, arguments: &[&str]) -> Measured {
    let mut command = job.command(arguments);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("weir");
    fn reading(mut from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
        std::thread::spawn(move || {
            let mut bytes = vec![];
            let _ = from.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        })
    }
    let out = reading(child.stdout.take().expect("its output"));
    let err = reading(child.stderr.take().expect("its errors"));
    let process = format!("/proc/{}", child.id());
    let (mut memory, mut files, mut worked) = (0, 0, Duration::ZERO);
    let status = loop {
        memory =
            memory.max(number(&std::fs::read_to_string(format!("{process}/status")).unwrap_or_default(), "VmHWM:"));
        files = files.max(std::fs::read_dir(format!("{process}/fd")).map_or(0, Iterator::count));
        let stat = std::fs::read_to_string(format!("{process}/stat")).unwrap_or_default();
        let ticks =
            stat.rsplit_once(')').map(|(_, rest)| rest.split_whitespace().skip(11).take(2)).into_iter().flatten();
        let ticks: u64 = ticks.filter_map(|t| t.parse::<u64>().ok()).sum();
        worked = worked.max(Duration::from_millis(ticks * 10));
        if let Some(status) = child.try_wait().expect("its end") {
            break status;
        }
        std::thread::sleep(Duration::from_millis(10));
    };
    let ran = Ran { code: status.code(), out: out.join().expect("text"), err: err.join().expect("text") };
    Measured { ran, memory: memory >> 10, files, worked }
}

/// A job that calls a function of these bytes for 1 to `rows`.
fn job(wasm: &[u8], rows: usize, options: &str) -> Job {
    let job = Job::new(&format!(
        "CREATE FUNCTION f AS 'f' LANGUAGE WASM USING FILE 'f.wasm' WITH ({options});
         CREATE TABLE n (a BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '{rows}',
           'rows-per-second' = '1000000', 'fields.a.kind' = 'sequence', 'fields.a.start' = '1', 'fields.a.end' = '{rows}');
         SELECT f(a) FROM n;"
    ));
    job.file("f.wasm", wasm);
    job
}

const ONE: [&str; 2] = ["--set", "parallelism.default=1"];

#[test]
fn guests_take_no_more_than_they_are_given() {
    // What weir takes by itself, and what it may take for a function of 128 MB.
    const OWN: u64 = 200;
    const MEMORY: u64 = 128;
    let lines = |ran: &Ran| ran.err.lines().filter(|l| l.contains(" f: ")).count();
    let attacked = |name: &str, module: &str| {
        let job = job(&component(module), 100, "'memory' = '128mb', 'timeout' = '300ms', 'on-error' = 'null'");
        let began = Instant::now();
        let m = measured(&job, &ONE);
        assert!(m.memory < OWN + MEMORY * 3 / 2, "{name}: {} MB: {}", m.memory, m.ran.err);
        assert!(m.files < 200, "{name}: {} files", m.files);
        // A hundred a second, and one that tells what was left out.
        let most = 101 * (began.elapsed().as_secs() as usize + 2);
        assert!(lines(&m.ran) < most, "{name}: {} lines", lines(&m.ran));
        // More than 16 rows that fail end the job; the message names the function.
        assert!(m.ran.code == Some(0) || m.ran.code == Some(4) && m.ran.err.contains("f: "), "{name}: {}", m.ran.err);
        m.ran
    };
    for name in ["fds", "names", "errors", "tables", "log", "loginject"] {
        let ran = attacked(name, &read(&format!("{name}.wat")));
        match name {
            "log" => assert!(ran.err.contains(" lines were left out"), "{}", ran.err),
            "loginject" => {
                assert!(ran.err.contains("f: hi\\n2025-11-28T21:00:00.000000Z ERROR weir:"), "{}", ran.err);
                assert!(!ran.err.contains('\u{1b}') && !ran.err.contains('\u{7}'), "{}", ran.err);
                assert!(!ran.err.lines().any(|l| l.starts_with("2025-")), "{}", ran.err);
            }
            "errors" | "tables" => assert!(ran.err.contains("f: it wanted more than 128 MB of memory"), "{}", ran.err),
            _ => {}
        }
    }
    let forever = |call: &str| format!("(loop $l {call} (br $l))");
    let large = "(local.set $q (call $alloc (i32.const 50000000)))";
    let neighbours = [
        ("timers", forever("(drop (call $sleep (i64.const 1000000000000)))")),
        ("networks", forever("(drop (call $net))")),
        ("random", forever("(call $random (i64.const 60000000) (i32.const 500))")),
        (
            "output",
            format!("{large} (local.set $s (call $stdout)) {}", {
                forever("(call $owrite (local.get $s) (local.get $q) (i32.const 50000000) (i32.const 500))")
            }),
        ),
        ("messages", format!("{large} {}", forever("(call $log (i32.const 3) (local.get $q) (i32.const 50000000))"))),
        (
            "results",
            format!(
                "{large} (global.set $ep (local.get $q)) (global.set $en (i32.const 4000000))
                 (i32.store (i32.const 436) (local.get $q))"
            ),
        ),
    ];
    for (name, text) in neighbours {
        attacked(name, &attack(&text));
    }
}

#[test]
fn a_function_that_is_dear_to_compile_is_not_compiled() {
    // The module of bomb1.py: one function with very many locals and branches.
    let body: String = (0..60_000)
        .map(|i| {
            let (to, from, asked) = (i % 45_000, i * 7 % 45_000, i * 13 % 45_000);
            format!(
                "(local.set $l{to} (i32.add (local.get $l{from}) (local.get $x)))
                 (if (local.get $l{asked}) (then (local.set $x (i32.const {i}))))"
            )
        })
        .collect();
    let locals: String = (0..45_000).map(|i| format!("(local $l{i} i32)")).collect();
    let big = format!("(func $big (param $x i32) (result i32) {locals} {body} (local.get $x))\n  (func $alloc");
    let module = attack("").replacen("(func $alloc", &big, 1);
    let m = measured(&job(&component(&module), 1, "'memory' = '128mb'"), &ONE);
    m.ran.failed(2, &["f.wasm", "is too dear to compile"]);
    assert!(m.memory < 300, "{} MB", m.memory);
}

#[test]
fn a_peer_that_says_nothing_is_waited_for_as_long_as_was_granted() {
    let peer = || {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("its address").port();
        let module = read("hang.wat").replace("(i32.const 7999)", &format!("(i32.const {port})"));
        (listener, component(&module), port)
    };
    let (listener, wasm, port) = peer();
    let silent = std::thread::spawn(move || listener.incoming().take(40).filter_map(Result::ok).collect::<Vec<_>>());
    let options = |timeout: &str| format!("'network' = '127.0.0.1:{port}', 'timeout' = '{timeout}'");
    job(&wasm, 1, &options("1s")).run(&ONE).failed(4, &["f: it waited longer than 3s", "'timeout'"]);
    drop(silent);
    // Stopping does not wait for it.
    let (listener, wasm, port) = peer();
    let job = job(&wasm, 1, &format!("'network' = '127.0.0.1:{port}', 'timeout' = '10min'"));
    let mut child = job.command(&ONE).stderr(Stdio::piped()).spawn().expect("weir");
    let connected = listener.accept().expect("a connection");
    // SAFETY: sends a signal to the process that was started here.
    unsafe { libc::kill(child.id() as i32, libc::SIGTERM) };
    let asked = Instant::now();
    assert!(comes(|| child.try_wait().expect("its end").is_some()), "it does not stop");
    assert!(asked.elapsed() < Duration::from_secs(15), "it stopped after {:?}", asked.elapsed());
    let out: Ran = child.wait_with_output().expect("its output").into();
    out.succeeded();
    drop(connected);
}

/// Of rows that a function loops on, the first is found within three time-outs and each further one within two; for those it sleeps on, time-outs are those for waiting.
#[test]
fn rows_that_take_too_long_are_found_soon() {
    let path = repository("tests/guests/evil");
    let run = |function: &str, rows: &str, timeout: u64| {
        let job = Job::new(&format!(
            "CREATE FUNCTION f AS '{function}' LANGUAGE RUST USING FILE '{}'
               WITH ('timeout' = '{timeout}s', 'on-error' = 'null', 'deterministic' = 'false');
             CREATE TABLE n (a BIGINT) WITH ('connector' = 'datagen', 'number-of-rows' = '8000',
               'rows-per-second' = '1000000', 'fields.a.kind' = 'sequence', 'fields.a.start' = '1', 'fields.a.end' = '8000');
             SELECT COUNT(*), COUNT(r) FROM (SELECT f({rows}) AS r FROM n);",
            path.display()
        ));
        measured(&job, &["--set", "parallelism.default=1", "--set", "execution.runtime-mode=batch"])
    };
    let quiet = run("loops", "a + 13", 4);
    let rows = |m: &Measured| m.ran.rows().into_keys().collect::<Vec<_>>();
    assert_eq!(rows(&quiet), ["[8000, 8000]"], "{}", quiet.ran.err);
    let beyond = |m: &Measured| m.worked.saturating_sub(quiet.worked);
    let one = run("loops", "CASE WHEN a = 6789 THEN 13 ELSE a + 13 END", 4);
    assert_eq!(rows(&one), ["[8000, 7999]"], "{}", one.ran.err);
    assert!(beyond(&one) < Duration::from_secs(12), "{:?}", beyond(&one));
    let several = run("loops", "CASE WHEN MOD(a, 1600) = 99 THEN 13 ELSE a + 13 END", 1);
    assert_eq!(rows(&several), ["[8000, 7995]"], "{}", several.ran.err);
    assert!(beyond(&several) < Duration::from_secs(3 + 4 * 2), "{:?}", beyond(&several));
    let began = Instant::now();
    let sleeps = run("sleeps", "CASE WHEN a = 6789 THEN 13 ELSE a + 13 END", 2);
    assert_eq!(rows(&sleeps), ["[8000, 7999]"], "{}", sleeps.ran.err);
    assert!(began.elapsed() < Duration::from_secs(3 * 6 + 30), "{:?}", began.elapsed());
}

#[test]
fn assets_are_unpacked_within_the_functions_memory() {
    use std::io::Write;
    let job = job(&component(&attack("")), 1, "'memory' = '64mb', 'assets' = 'bomb.gz'");
    let mut packed = flate2::write::GzEncoder::new(vec![], flate2::Compression::best());
    for _ in 0..1024 {
        packed.write_all(&[0; 1 << 20]).expect("room");
    }
    job.file("bomb.gz", packed.finish().expect("room"));
    let m = measured(&job, &ONE);
    m.ran.failed(2, &["bomb.gz", "more than the function's memory of 64 MB", "'memory'"]);
    assert!(m.memory < 250, "{} MB", m.memory);
}
