//! `weir generate`: made-up access logs. Every row follows from the seed and its number.

use crate::arguments::GenerateArguments;
use std::fs::File;
use std::io::{BufWriter, Read, Write};
use std::net::Ipv4Addr;
use weir_core::{Error, Result};

struct Random(u64);

impl Random {
    /// SplitMix64.
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
    fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }
}

const PATHS: &[&str] = &["/video/seg", "/img/logo.png", "/css/site.css", "/js/app.js", "/download/setup.exe", "/"];

fn ranges(path: &std::path::Path) -> Result<Vec<(u32, u32)>> {
    let fail = |e: std::io::Error| Error::script(format!("cannot read {}", path.display())).caused_by(e);
    let file = File::open(path).map_err(fail)?;
    let mut text = String::new();
    if path.extension().is_some_and(|e| e == "gz") {
        weir_connectors::unpacked(file).read_to_string(&mut text).map_err(fail)?;
    } else {
        std::io::BufReader::new(file).read_to_string(&mut text).map_err(fail)?;
    }
    let line = |l: &str| -> Option<(u32, u32)> {
        let mut parts = l.split(',');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    };
    Ok(text.lines().filter_map(line).collect())
}

/// Writes the rows.
pub fn run(a: &GenerateArguments) -> Result<()> {
    let ranges = match &a.ranges {
        Some(p) => ranges(p)?,
        None => vec![(0x0100_0000, 0xDFFF_FFFF)],
    };
    if ranges.is_empty() {
        return Err(Error::script("the table of ranges has none"));
    }
    let fail = |e: std::io::Error| Error::io("cannot write the rows").caused_by(e);
    let sink: Box<dyn Write> = match &a.output {
        Some(p) => {
            if let Some(folder) = p.parent() {
                std::fs::create_dir_all(folder).map_err(fail)?;
            }
            let file = File::create(p).map_err(fail)?;
            if p.extension().is_some_and(|e| e == "gz") { weir_connectors::packed(file) } else { Box::new(file) }
        }
        None => Box::new(std::io::stdout()),
    };
    let mut out = BufWriter::with_capacity(1 << 18, sink);
    let mut line = String::new();
    for row in 0..a.rows {
        let mut r = Random(a.seed.wrapping_mul(0xD129_0DDC_1C29_1A4B) ^ row.wrapping_mul(0x2545_F491_4F6C_DD1D));
        let (first, last) = ranges[r.below(ranges.len() as u64) as usize];
        let ip = Ipv4Addr::from(first + r.below(u64::from(last - first) + 1) as u32);
        let (high, low) = (r.next(), r.next());
        let uuid = uuid::Uuid::from_u64_pair(high, low);
        let time = 1 + r.below(2000);
        let size = 100 + r.below(1_000_000);
        let path = PATHS[r.below(PATHS.len() as u64) as usize];
        use std::fmt::Write as _;
        line.clear();
        let broken = if a.broken > 0 && row % a.broken == a.broken - 1 { 1 + r.below(3) } else { 0 };
        // Writing to a String cannot fail.
        let _ = match broken {
            1 => writeln!(line, "{uuid},{ip},slow,{size},{path}"),
            2 => writeln!(line, "{uuid},{ip},{time},{size},{path},surplus"),
            3 => writeln!(line, "{uuid},{ip}"),
            _ => writeln!(line, "{uuid},{ip},{time},{size},{path}"),
        };
        match out.write_all(line.as_bytes()) {
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => return Ok(()),
            other => other.map_err(fail)?,
        }
    }
    out.flush().map_err(fail)
}
