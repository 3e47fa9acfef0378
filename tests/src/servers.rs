//! The real servers that tests talk to: a Kafka broker, MariaDB, PostgreSQL. Each lives in a folder of its own on free ports,
//! and ends with the process that started it.

use std::net::{TcpListener, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// A port that nobody listens on.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// A server's process, ended when this goes, or when the process of the tests does.
pub struct Server {
    pub(crate) child: Child,
    /// Where it keeps its data.
    pub folder: tempfile::TempDir,
    /// Where it listens.
    pub port: u16,
}

impl Server {
    /// Kills it, and gives its folder and port for the next one.
    fn kill(&mut self) -> (tempfile::TempDir, u16) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        (std::mem::replace(&mut self.folder, tempfile::tempdir().expect("a folder")), self.port)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Starts a command that ends with this process. The death signal follows the thread that starts it, so that is one of its own
/// which lives as long as the process.
pub(crate) fn spawn(mut command: Command) -> Child {
    let (sender, receiver) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        // SAFETY: prctl is safe between fork and exec.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                Ok(())
            });
        }
        let _ = sender.send(command.spawn());
        loop {
            std::thread::park();
        }
    });
    receiver.recv().expect("the thread answers").expect("the server starts")
}

pub(crate) fn answers(port: u16, child: &mut Child, log: &Path) {
    let since = Instant::now();
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        let ended = child.try_wait().ok().flatten();
        let said = || std::fs::read_to_string(log).unwrap_or_default();
        assert!(ended.is_none(), "the server ended: {}", said());
        assert!(since.elapsed() < Duration::from_secs(60), "the server does not answer: {}", said());
        std::thread::sleep(Duration::from_millis(50));
    }
}

pub(crate) fn logged(command: &mut Command, log: &Path) {
    let file = std::fs::File::create(log).expect("a log");
    command.stdin(Stdio::null()).stdout(file.try_clone().expect("a log")).stderr(file);
}

pub(crate) fn run(command: &mut Command) -> String {
    let out = command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("{command:?}: {e}"));
    let text = format!("{}{}", String::from_utf8_lossy(&out.stdout), String::from_utf8_lossy(&out.stderr));
    assert!(out.status.success(), "{command:?}: {text}");
    String::from_utf8_lossy(&out.stdout).into_owned()
}

/// A Kafka broker that is its own controller.
pub struct Kafka {
    server: Option<Server>,
    folder: PathBuf,
    port: u16,
}

fn jars() -> String {
    let folder = crate::repository("target/servers/kafka-4.1.1");
    assert!(folder.join(".whole").is_file(), "Kafka's jars are not there: run tests/servers/install");
    format!("{}/*", folder.display())
}

fn java(class: &str) -> Command {
    let mut c = Command::new("java");
    c.args(["-cp", &jars(), class]);
    c
}

/// Writes a broker's configuration and formats its folder.
fn prepare(folder: &Path, node: usize, port: u16, controller: u16, voters: &str, more: &str, cluster: &str) {
    let properties = format!(
        "process.roles=broker,controller\nnode.id={node}\ncontroller.quorum.voters={voters}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\ncontroller.listener.names=CONTROLLER\n\
         log.dirs={}/data\noffsets.topic.replication.factor=1\ntransaction.state.log.replication.factor=1\n\
         transaction.state.log.min.isr=1\nshare.coordinator.state.topic.replication.factor=1\n\
         share.coordinator.state.topic.min.isr=1\ngroup.initial.rebalance.delay.ms=0\n\
         offsets.topic.num.partitions=4\ntransaction.state.log.num.partitions=4\nauto.create.topics.enable=false\n\
         transaction.abort.timed.out.transaction.cleanup.interval.ms=1000\n{more}",
        folder.display()
    );
    let config = folder.join("server.properties");
    std::fs::write(&config, properties).expect("the broker's configuration");
    run(java("kafka.tools.StorageTool").args(["format", "-t", cluster, "-c"]).arg(&config));
}

/// Several brokers of one cluster, which keep everything three times.
pub struct KafkaCluster(Vec<Kafka>);

impl KafkaCluster {
    /// Starts three.
    pub fn start() -> KafkaCluster {
        let ports: Vec<(u16, u16)> = (0..3).map(|_| (free_port(), free_port())).collect();
        let voters: Vec<String> =
            ports.iter().enumerate().map(|(i, (_, c))| format!("{}@127.0.0.1:{c}", i + 1)).collect();
        let id = run(java("kafka.tools.StorageTool").arg("random-uuid"));
        let more = "offsets.topic.replication.factor=3\ntransaction.state.log.replication.factor=3\n\
                    transaction.state.log.min.isr=2\nmin.insync.replicas=2\ndefault.replication.factor=3\n";
        let started = ports.iter().enumerate().map(|(i, (port, controller))| {
            let folder = tempfile::tempdir().expect("a folder");
            prepare(folder.path(), i + 1, *port, *controller, &voters.join(","), more, id.trim());
            (folder, *port)
        });
        // All of them first: none answers before there are two.
        let commands: Vec<_> = started.map(|(folder, port)| Kafka::launch(folder, port)).collect();
        KafkaCluster(
            commands
                .into_iter()
                .map(|mut server| {
                    let log = server.folder.path().join("log");
                    answers(server.port, &mut server.child, &log);
                    Kafka { folder: server.folder.path().to_path_buf(), port: server.port, server: Some(server) }
                })
                .collect(),
        )
    }

    /// One of the brokers.
    pub fn broker(&mut self, n: usize) -> &mut Kafka {
        &mut self.0[n]
    }

    /// `bootstrap.servers`
    pub fn servers(&self) -> String {
        self.0.iter().map(Kafka::servers).collect::<Vec<_>>().join(",")
    }

    /// Makes a topic that is kept three times.
    pub fn topic(&self, name: &str, partitions: u32) {
        let partitions = partitions.to_string();
        self.0[0].tool(
            "org.apache.kafka.tools.TopicCommand",
            &["--create", "--topic", name, "--partitions", &partitions, "--replication-factor", "3"],
        );
    }
}

impl Kafka {
    /// Starts one.
    pub fn start() -> Kafka {
        Self::with(free_port(), |_, _| String::new())
    }

    /// Starts one that listens at a port, with further properties, made of its folder and that port; later ones win.
    pub fn with(port: u16, more: impl FnOnce(&Path, u16) -> String) -> Kafka {
        let folder = tempfile::tempdir().expect("a folder");
        let id = run(java("kafka.tools.StorageTool").arg("random-uuid"));
        let controller = free_port();
        let more = more(folder.path(), port);
        prepare(folder.path(), 1, port, controller, &format!("1@127.0.0.1:{controller}"), &more, id.trim());
        let server = Self::broker(folder, port);
        Kafka { folder: server.folder.path().to_path_buf(), server: Some(server), port }
    }

    fn broker(folder: tempfile::TempDir, port: u16) -> Server {
        let mut server = Self::launch(folder, port);
        let log = server.folder.path().join("log");
        answers(port, &mut server.child, &log);
        server
    }

    fn launch(folder: tempfile::TempDir, port: u16) -> Server {
        let mut command = Command::new("java");
        command.args(["-Xmx512m", "-cp", &jars(), "kafka.Kafka"]).arg(folder.path().join("server.properties"));
        let log = folder.path().join("log");
        logged(&mut command, &log);
        Server { child: spawn(command), folder, port }
    }

    /// Kills it as a power cut would, and starts it again on the same data. How long it is away is the test's to say.
    pub fn restart(&mut self, down: Duration) {
        let Some(mut server) = self.server.take() else { return };
        let (folder, port) = server.kill();
        std::thread::sleep(down);
        drop(server);
        self.server = Some(Self::broker(folder, port));
    }

    /// `bootstrap.servers`
    pub fn servers(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Where the broker keeps its data.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Runs one of Kafka's own tools against it: `org.apache.kafka.tools.TopicCommand` and the like.
    pub fn tool(&self, class: &str, arguments: &[&str]) -> String {
        let servers = self.servers();
        let mut c = Command::new("java");
        run(c.args(["-cp", &jars(), class, "--bootstrap-server", &servers]).args(arguments))
    }

    /// Runs a tool that reads its standard input.
    pub fn fed_tool(&self, class: &str, arguments: &[&str], input: &str) {
        use std::io::Write;
        let servers = self.servers();
        let mut c = Command::new("java");
        c.args(["-cp", &jars(), class, "--bootstrap-server", &servers]).args(arguments);
        let mut child =
            c.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap_or_else(|e| panic!("{class}: {e}"));
        child.stdin.take().expect("its input").write_all(input.as_bytes()).expect("what it reads");
        assert!(child.wait().is_ok_and(|s| s.success()), "{class} failed");
    }

    /// What Kafka's own consumer reads of a topic from its beginning on, with further arguments. On a busy machine it takes a while
    /// until it is given its partitions, and it ends when nothing has come for so long.
    pub fn read(&self, topic: &str, more: &[&str]) -> String {
        let all = ["--topic", topic, "--from-beginning", "--timeout-ms", "12000"];
        self.tool("org.apache.kafka.tools.consumer.ConsoleConsumer", &[&all, more].concat())
    }

    /// Makes a topic.
    pub fn topic(&self, name: &str, partitions: u32) {
        self.topic_with(name, partitions, &[]);
    }

    /// Makes a topic with settings of its own.
    pub fn topic_with(&self, name: &str, partitions: u32, settings: &[&str]) {
        let partitions = partitions.to_string();
        let mut all = vec!["--create", "--topic", name, "--partitions", &partitions, "--replication-factor", "1"];
        all.extend(settings.iter().flat_map(|s| ["--config", s]));
        self.tool("org.apache.kafka.tools.TopicCommand", &all);
    }
}

/// A MariaDB server with the database `weir` and the user `root` without a password.
pub struct MariaDb(Server);

impl MariaDb {
    /// Starts one.
    pub fn start() -> MariaDb {
        let folder = tempfile::tempdir().expect("a folder");
        let data = folder.path().join("data");
        run(Self::alone(&folder, "mariadb-install-db")
            .args(["--no-defaults", "--user=root", "--auth-root-authentication-method=normal"])
            .arg(format!("--datadir={}", data.display())));
        let db = MariaDb(Self::launch(folder, free_port()));
        db.run_on("", "CREATE DATABASE weir CHARACTER SET utf8mb4");
        db
    }

    /// A command with a folder of its own for what is temporary: a server that starts removes the temporary tables of all others in it.
    fn alone(folder: &tempfile::TempDir, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("TMPDIR", folder.path());
        command
    }

    fn launch(folder: tempfile::TempDir, port: u16) -> Server {
        let (data, socket) = (folder.path().join("data"), folder.path().join("socket"));
        let mut command = Self::alone(&folder, "mariadbd");
        command.args(["--no-defaults", "--user=root", "--bind-address=127.0.0.1", "--character-set-server=utf8mb4"]);
        command.arg(format!("--datadir={}", data.display())).arg(format!("--socket={}", socket.display()));
        command.arg(format!("--port={port}"));
        let log = folder.path().join("log");
        logged(&mut command, &log);
        let mut child = spawn(command);
        answers(port, &mut child, &log);
        Server { child, folder, port }
    }

    /// Kills it as a power cut would, and starts it again on the same data. How long it is away is the test's to say.
    pub fn restart(&mut self, down: Duration) {
        let (folder, port) = self.0.kill();
        std::thread::sleep(down);
        self.0 = Self::launch(folder, port);
    }

    fn run_on(&self, database: &str, sql: &str) -> String {
        let port = self.0.port.to_string();
        let mut c = Command::new("mariadb");
        c.args([
            "--no-defaults",
            "-h",
            "127.0.0.1",
            "-P",
            &port,
            "-u",
            "root",
            "-N",
            "-B",
            "--default-character-set=utf8mb4",
        ]);
        run(c.args(["-e", sql]).args((!database.is_empty()).then_some(database)))
    }

    /// Runs statements; gives the rows, tabs between the columns.
    pub fn sql(&self, sql: &str) -> String {
        self.run_on("weir", sql)
    }

    /// The URL as JDBC writes it.
    pub fn url(&self) -> String {
        format!("jdbc:mysql://127.0.0.1:{}/weir", self.0.port)
    }
}

/// A PostgreSQL server with the user `postgres`, who needs no password.
pub struct Postgres(Server);

impl Postgres {
    fn tool(name: &str) -> PathBuf {
        let versions =
            std::fs::read_dir("/usr/lib/postgresql").expect("PostgreSQL is installed: run tests/servers/install");
        let newest = versions.filter_map(|v| v.ok().map(|v| v.path())).max().expect("a version");
        newest.join("bin").join(name)
    }

    /// Starts one. The server refuses to run as root, so it runs as `postgres`.
    pub fn start() -> Postgres {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().expect("a folder");
        std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(0o777)).expect("its rights");
        let (data, port) = (folder.path().join("data"), free_port());
        run(Self::as_user("initdb")
            .args(["-A", "trust", "-U", "postgres", "-E", "UTF8", "--locale=C.UTF-8", "-D"])
            .arg(&data));
        Postgres(Self::launch(folder, port)).ready()
    }

    fn as_user(name: &str) -> Command {
        let mut c = Command::new("setpriv");
        c.args(["--pdeathsig=KILL", "--reuid=postgres", "--regid=postgres", "--init-groups", "--"])
            .arg(Self::tool(name));
        c
    }

    fn launch(folder: tempfile::TempDir, port: u16) -> Server {
        let data = folder.path().join("data");
        let mut command = Self::as_user("postgres");
        command.arg("-D").arg(&data).args(["-p", &port.to_string(), "-h", "127.0.0.1", "-k"]).arg(folder.path());
        let log = folder.path().join("log");
        logged(&mut command, &log);
        let mut child = spawn(command);
        answers(port, &mut child, &log);
        Server { child, folder, port }
    }

    fn ready(self) -> Postgres {
        let since = Instant::now();
        while self.command("SELECT 1").output().map_or(true, |o| !o.status.success()) {
            assert!(since.elapsed() < Duration::from_secs(30), "PostgreSQL does not answer");
            std::thread::sleep(Duration::from_millis(100));
        }
        self
    }

    /// Kills all of it as a power cut would, and starts it again on the same data. How long it is away is the test's to say.
    pub fn restart(mut self, down: Duration) -> Postgres {
        let (folder, port) = self.0.kill();
        std::thread::sleep(down);
        Postgres(Self::launch(folder, port)).ready()
    }

    fn command(&self, sql: &str) -> Command {
        let mut c = Command::new("psql");
        let port = self.0.port.to_string();
        c.args([
            "-h",
            "127.0.0.1",
            "-p",
            &port,
            "-U",
            "postgres",
            "-At",
            "-F",
            "\t",
            "-v",
            "ON_ERROR_STOP=1",
            "-c",
            sql,
        ]);
        c
    }

    /// Runs statements; gives the rows, tabs between the columns.
    pub fn sql(&self, sql: &str) -> String {
        run(&mut self.command(sql))
    }

    /// The URL as JDBC writes it.
    pub fn url(&self) -> String {
        format!("jdbc:postgresql://127.0.0.1:{}/postgres", self.0.port)
    }
}

/// A Prometheus that scrapes one address, every second.
pub struct Prometheus(Server);

impl Prometheus {
    /// Starts one, with a file of rules.
    pub fn start(target: &str, rules: &Path) -> Prometheus {
        let folder = tempfile::tempdir().expect("a folder");
        let rules = rules.canonicalize().expect("the rules");
        let config = format!(
            "global: {{scrape_interval: 1s, evaluation_interval: 1s}}\nrule_files: ['{}']\nscrape_configs:\n  - job_name: weir\n    \
             static_configs: [{{targets: ['{target}']}}]\n",
            rules.display()
        );
        let file = folder.path().join("prometheus.yml");
        std::fs::write(&file, config).expect("the configuration");
        let port = free_port();
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.path().join("data").display()));
        command.arg(format!("--web.listen-address=127.0.0.1:{port}"));
        let log = folder.path().join("log");
        logged(&mut command, &log);
        let mut child = spawn(command);
        answers(port, &mut child, &log);
        Prometheus(Server { child, folder, port })
    }

    /// Where it answers.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.0.port)
    }
}
