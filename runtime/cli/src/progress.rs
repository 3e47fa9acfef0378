//! What a person sees while a job runs: a live line on a terminal, a line now and then elsewhere, a summary at the end.

use indicatif::{HumanBytes, HumanCount, ProgressBar, ProgressStyle};
use std::io::IsTerminal;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use weir_core::graph::{JobGraph, Role};
use weir_core::metrics::{Metrics, SubtaskMetrics};

/// A node as the display sees it.
struct Watched {
    name: String,
    source: bool,
    sink: bool,
}

/// The display, until it is dropped.
pub struct ProgressDisplay {
    watched: Arc<Vec<Watched>>,
    metrics: Metrics,
    started: Instant,
    done: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

struct Totals {
    rows_in: u64,
    rows_out: u64,
    bytes: u64,
    failed: u64,
    late: u64,
    busiest: Option<(String, f64)>,
}

fn sums(watched: &[Watched], metrics: &Metrics) -> Totals {
    let mut s = Totals { rows_in: 0, rows_out: 0, bytes: 0, failed: 0, late: 0, busiest: None };
    for w in watched {
        let mut most = 0.0_f64;
        for m in metrics.subtasks(&w.name) {
            s.rows_in += if w.source { m.rows_out.get() } else { 0 };
            s.bytes += if w.source { m.bytes_in.get() } else { 0 };
            s.rows_out += if w.sink { m.rows_in.get() } else { 0 };
            s.failed += m.skipped.get() + m.nulled.get() + m.dead.get();
            s.late += m.late.get();
            most = most.max(m.busy.get());
        }
        if s.busiest.as_ref().is_none_or(|(_, b)| most > *b) {
            s.busiest = Some((w.name.clone(), most));
        }
    }
    s
}

fn late_in_words(rows: u64) -> String {
    match rows {
        0 => String::new(),
        1 => ", 1 late row left out".to_string(),
        more => format!(", {} late rows left out", HumanCount(more)),
    }
}

impl ProgressDisplay {
    /// Begins to show a job.
    pub fn start(graph: &JobGraph, metrics: &Metrics) -> Self {
        let watched: Vec<Watched> = graph
            .nodes
            .iter()
            .map(|n| Watched {
                name: n.name.clone(),
                source: matches!(n.role, Role::Source(_)),
                sink: matches!(n.role, Role::Sink(_)),
            })
            .collect();
        let watched = Arc::new(watched);
        let done = Arc::new(AtomicBool::new(false));
        let started = Instant::now();
        let (w, m, d) = (watched.clone(), metrics.clone(), done.clone());
        let terminal = std::io::stderr().is_terminal();
        let thread = std::thread::Builder::new().name("weir-progress".to_string()).spawn(move || {
            let bar = terminal.then(|| {
                let bar = ProgressBar::new_spinner();
                let style = ProgressStyle::with_template("{spinner} {msg}");
                bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_spinner()));
                bar
            });
            let every = if terminal { Duration::from_millis(200) } else { Duration::from_secs(1) };
            let mut last = (Instant::now(), 0u64);
            let mut said = Instant::now();
            while !d.load(Ordering::Relaxed) {
                std::thread::park_timeout(every);
                let s = sums(&w, &m);
                let rate = (s.rows_in - last.1) as f64 / last.0.elapsed().as_secs_f64().max(0.001);
                if last.0.elapsed() > Duration::from_secs(1) {
                    last = (Instant::now(), s.rows_in);
                }
                let busiest = s.busiest.map(|(n, _)| format!(", busiest: {n}")).unwrap_or_default();
                let line = format!(
                    "{} rows in, {}/s, {} out{}, epoch {}{busiest}",
                    HumanCount(s.rows_in),
                    HumanCount(rate as u64),
                    HumanCount(s.rows_out),
                    late_in_words(s.late),
                    m.job().epoch_number.get()
                );
                match &bar {
                    Some(b) => {
                        b.set_message(line);
                        b.tick();
                    }
                    None if said.elapsed() > Duration::from_secs(10) => {
                        said = Instant::now();
                        note!("{line}");
                    }
                    None => {}
                }
            }
            if let Some(b) = bar {
                b.finish_and_clear();
            }
        });
        ProgressDisplay { watched, metrics: metrics.clone(), started, done, thread: thread.ok() }
    }

    /// Ends the display with a summary.
    pub fn finish(mut self, ended: bool) {
        self.stop();
        let s = sums(&self.watched, &self.metrics);
        let time = self.started.elapsed();
        let rate = s.rows_in as f64 / time.as_secs_f64().max(0.001);
        let what = if ended { "done" } else { "stopped" };
        let read = if s.bytes > 0 { format!(" ({})", HumanBytes(s.bytes)) } else { String::new() };
        let failed =
            if s.failed > 0 { format!(", {} bad rows or fields", HumanCount(s.failed)) } else { String::new() };
        note!(
            "{what}: {} rows in{read}, {} out{failed}{}, {} epochs, {time:.1?}, {} rows/s",
            HumanCount(s.rows_in),
            HumanCount(s.rows_out),
            late_in_words(s.late),
            self.metrics.job().epochs.get(),
            HumanCount(rate as u64)
        );
        for w in self.watched.iter() {
            let all = self.metrics.subtasks(&w.name);
            let sum = |f: &dyn Fn(&SubtaskMetrics) -> f64| all.iter().map(f).sum::<f64>();
            let (busy, back, idle) = (sum(&|m| m.busy.get()), sum(&|m| m.back_pressured.get()), sum(&|m| m.idle.get()));
            let part = |t: f64| (100.0 * t / (busy + back + idle).max(1e-6)) as u64;
            note!(
                "  {:<28} x{:<2} busy {:>3} %  back-pressured {:>3} %  idle {:>3} %  cpu {:.2} s",
                w.name,
                all.len(),
                part(busy),
                part(back),
                part(idle),
                sum(&|m| m.cpu.get())
            );
        }
    }

    fn stop(&mut self) {
        self.done.store(true, Ordering::Relaxed);
        if let Some(t) = self.thread.take() {
            t.thread().unpark();
            // The thread only reads counters: if it panicked there is nothing to clean up.
            let _ = t.join();
        }
    }
}

impl Drop for ProgressDisplay {
    fn drop(&mut self) {
        self.stop();
    }
}
