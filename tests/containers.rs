//! The image, the compose file and the manifests of `deploy/`, built and run for real by buildah and podman.

use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};
use weir_tests::http::ask;
use weir_tests::servers::free_port;
use weir_tests::{Ran, comes, repository};

const RIGHTS: [&str; 8] =
    ["--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges", "--memory=256m"];

/// A command that knows the tests' own images, and where they lie.
fn command(program: &str, arguments: &[&str]) -> Command {
    let at = repository("target/servers/containers");
    let mut c = Command::new(program);
    c.args(arguments).current_dir(repository("."));
    c.env("CONTAINERS_STORAGE_CONF", at.join("storage.conf")).env("CONTAINERS_CONF", at.join("containers.conf"));
    c.env("BUILDAH_ISOLATION", "chroot");
    c
}

fn ran(mut c: Command) -> Ran {
    c.output().unwrap_or_else(|e| panic!("{c:?} does not start: {e}")).into()
}

fn try_run(program: &str, arguments: &[&str]) -> Ran {
    ran(command(program, arguments))
}

fn run(program: &str, arguments: &[&str]) -> String {
    try_run(program, arguments).succeeded().out
}

/// The image, built once: from what `deploy/stage` lays out of this build, for it takes half an hour to build Weir in it.
static IMAGE: LazyLock<String> = LazyLock::new(|| {
    run("deploy/stage", &["target/image"]);
    let built = ["bud", "--pull-never", "--format", "docker", "--target", "given", "-f", "deploy/Dockerfile"];
    run("buildah", &[&built[..], &["-t", "weir:tests", "."]].concat());
    run("podman", &["image", "prune", "-f"]);
    "weir:tests".to_string()
});

#[test]
fn the_example_runs_without_rights() {
    let of_image = try_run("podman", &[&["run", "--rm"], &RIGHTS[..], &[&*IMAGE]].concat()).succeeded();
    // Nothing is compiled at the start: its functions came with it.
    assert!(!of_image.err.contains("compiling") && !of_image.err.contains("building"), "{}", of_image.err);
    let state = tempfile::tempdir().expect("a folder");
    let job = repository("examples/cdn-log-analysis/job.sql");
    let here = weir_tests::weir();
    let state = state.path().display().to_string();
    let here =
        try_run(&here.display().to_string(), &["run", &job.display().to_string(), "--state", &state]).succeeded();
    assert!(here.rows().len() > 30, "{}", here.out);
    assert_eq!(of_image.rows(), here.rows());

    let sh = |script: &str| {
        let shell = ["--entrypoint", "sh", &*IMAGE, "-c", script];
        run("podman", &[&["run", "--rm"], &RIGHTS[..], &shell[..]].concat())
    };
    assert_eq!(sh("id -u").trim(), "65532");
    assert_eq!(sh("touch /state/x && touch /opt/x 2>&1 || echo refused").lines().last(), Some("refused"));
}

/// The services of the compose file, under names of this process's own. They go when this is dropped.
struct Composed {
    project: String,
    ports: Vec<(&'static str, String)>,
}

impl Composed {
    fn command(&self, arguments: &[&str]) -> Command {
        let python = repository("target/servers/containers-1/bin/python").display().to_string();
        let mut c = command(&python, &["-m", "podman_compose", "-p", &self.project, "-f", "deploy/compose.yaml"]);
        c.args(arguments).env("WEIR_IMAGE", &*IMAGE).envs(self.ports.iter().map(|(n, p)| (*n, p.as_str())));
        c
    }
    fn compose(&self, arguments: &[&str]) {
        ran(self.command(arguments)).succeeded();
    }
    fn container(&self, service: &str) -> String {
        format!("{}_{service}_1", self.project)
    }
    fn address(&self, variable: &str) -> String {
        let port = self.ports.iter().find(|(n, _)| *n == variable).map(|(_, p)| p.as_str());
        format!("127.0.0.1:{}", port.unwrap_or_default())
    }
    /// How many accesses were sent and how many are counted.
    fn totals(&self) -> (u64, u64) {
        let job = self.container("job");
        let ran =
            try_run("podman", &["exec", &job, "weir", "run", "/job/totals.sql", "--state", "/tmp/totals", "--fresh"]);
        let number = |what: &str| -> u64 {
            let row = ran.out.lines().find_map(|l| l.strip_prefix(&format!("+I[{what}, ")));
            row.and_then(|r| r.trim_end_matches(']').parse().ok()).unwrap_or_default()
        };
        (number("sent"), number("counted"))
    }
    fn inspect(&self, service: &str, what: &str) -> String {
        run("podman", &["inspect", &self.container(service), "--format", what]).trim().to_string()
    }
}

impl Drop for Composed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            for service in ["kafka", "feed", "job"] {
                let logs = try_run("podman", &["logs", "--tail", "20", &self.container(service)]);
                eprintln!("--- {service}\n{}{}", logs.out, logs.err);
            }
        }
        let mut c = self.command(&["down", "-v", "-t", "5"]);
        c.stdout(Stdio::null()).stderr(Stdio::null());
        let _ = c.status();
    }
}

#[test]
fn the_composed_example_counts_what_is_sent() {
    let port = || free_port().to_string();
    let ports = vec![("WEIR_PORT", port()), ("PROMETHEUS_PORT", port()), ("GRAFANA_PORT", port())];
    let it = Composed { project: format!("weir{}", std::process::id()), ports };
    // podman 4.3 knows no condition of a dependency, so what the file says of them is done here by hand. Grafana's image is not to be had.
    it.compose(&["up", "-d", "kafka", "prometheus"]);
    it.compose(&["run", "--rm", "--no-deps", "-T", "topics"]);
    it.compose(&["up", "-d", "--no-deps", "feed", "job"]);

    let (job, address) = (it.container("job"), it.address("WEIR_PORT"));
    assert!(comes(|| try_run("podman", &["healthcheck", "run", &job]).code == Some(0)), "health");
    assert!(comes(|| it.totals().1 > 2000), "accesses");
    let scraped = |query: &str| {
        let answer = ask(&it.address("PROMETHEUS_PORT"), "GET", &format!("/api/v1/query?query={query}"), &[], "");
        answer.body.matches("\"metric\":").count()
    };
    assert!(comes(|| scraped("weir_epochs_total%3E0") == 2), "both jobs scraped");
    assert!(
        comes(|| { scraped("{__name__=~%22job:.*%22}") > 0 || scraped("{__name__=~%22.*:.*%22}") > 0 }),
        "a recorded rule"
    );
    // From outside it is looked at, not changed: there is no token.
    assert_eq!(ask(&address, "GET", "/api/v1/job", &[], "").status, 200);
    let refused = ask(&address, "POST", "/api/v1/job/stop", &["Content-Type: application/json"], "{}");
    assert!((401..404).contains(&refused.status), "{} {}", refused.status, refused.body);

    // Killed, and stopped under load: it goes on with its volume.
    run("podman", &["kill", &job]);
    assert!(comes(|| it.inspect("job", "{{.State.Running}}") == "false"), "the end");
    run("podman", &["start", &job]);
    assert!(comes(|| try_run("podman", &["healthcheck", "run", &job]).code == Some(0)), "health after the kill");
    let begin = Instant::now();
    run("podman", &["stop", "-t", "60", &job]);
    assert!(begin.elapsed() < Duration::from_secs(45), "it stops within its grace period: {:?}", begin.elapsed());
    assert_eq!(it.inspect("job", "{{.State.ExitCode}}"), "0");
    run("podman", &["start", &job]);
    let before = it.totals().1;
    assert!(comes(|| it.totals().1 > before), "it counts on");
    run("podman", &["stop", "-t", "60", &it.container("feed")]);
    assert_eq!(it.inspect("feed", "{{.State.ExitCode}}"), "0");
    let mut last = (0, 0);
    assert!(
        comes(|| {
            last = it.totals();
            eprintln!("sent {}, counted {}", last.0, last.1);
            last.0 > 10_000 && last.0 == last.1
        }),
        "as many counted as were sent"
    );
    let logs = try_run("podman", &["logs", &job]);
    assert_eq!(logs.err.matches("goes on after its last epoch").count(), 2, "{}", logs.err);
}

#[test]
fn kubernetes_takes_the_manifests() {
    for overlay in ["example", "production"] {
        let at = format!("deploy/kubernetes/overlays/{overlay}");
        let built = repository("target/servers/containers-1/bin/kustomize");
        let rendered = if built.is_file() {
            run(&built.display().to_string(), &["build", &at])
        } else {
            run("kubectl", &["kustomize", &at])
        };
        let mut c = command(
            &repository("target/servers/containers-1/bin/python").display().to_string(),
            &["tests/servers/containers/validate.py"],
        );
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), &rendered).expect("the manifests");
        c.stdin(std::fs::File::open(file.path()).expect("the manifests"));
        let kinds = ran(c).succeeded().out;
        for kind in ["StatefulSet/", "Service/", "NetworkPolicy/", "ConfigMap/"] {
            assert!(kinds.contains(kind), "{overlay}: {kinds}");
        }
        assert_eq!(kinds.contains("PodMonitor/"), overlay == "production", "{kinds}");

        // The script that goes into the pod, checked by the image that runs there.
        let script = format!("{}:/job/job.sql:ro", repository(&format!("{at}/job.sql")).display());
        let given = ["-e", "KAFKA=k:1", "-e", "KAFKA_USER=u", "-e", "KAFKA_PASSWORD=p", "-v", &script];
        run("podman", &[&["run", "--rm"], &RIGHTS[..], &given[..], &[&*IMAGE, "check", "/job/job.sql"]].concat());
    }
}
