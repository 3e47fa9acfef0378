//! The province, or the country outside China, that an IPv4 address belongs to.

use std::sync::OnceLock;
use weir_udf::udf;

struct Ranges {
    first: Vec<u32>,
    /// The first ranges of each block of addresses, so that a look-up begins close to its end: as many blocks as ranges.
    blocks: Vec<u32>,
    /// How many low bits of an address lie inside a block.
    shift: u32,
    region: Vec<u16>,
    names: Vec<&'static str>,
}

static RANGES: OnceLock<Ranges> = OnceLock::new();

/// Reads the table of ranges: `first,last,region` a line, sorted and without gaps.
fn load() -> Result<(), String> {
    let text = String::from_utf8(weir_udf::asset("regions.csv")?).map_err(|e| e.to_string())?;
    let text: &'static str = text.leak();
    let mut r = Ranges { first: vec![], blocks: vec![], shift: 0, region: vec![], names: vec![] };
    let mut known = std::collections::HashMap::new();
    for line in text.lines() {
        let mut parts = line.splitn(3, ',');
        let (Some(Ok(first)), Some(_), Some(name)) = (parts.next().map(str::parse::<u32>), parts.next(), parts.next())
        else {
            continue;
        };
        let id = *known.entry(name).or_insert_with(|| {
            r.names.push(name);
            (r.names.len() - 1) as u16
        });
        r.first.push(first);
        r.region.push(id);
    }
    r.shift = r.first.len().checked_ilog2().map_or(31, |bits| 31 - bits);
    for block in 0..=1u64 << (32 - r.shift) {
        r.blocks.push(r.first.partition_point(|f| u64::from(*f) < block << r.shift) as u32);
    }
    RANGES.set(r).map_err(|_| "the table is loaded twice".to_string())
}

fn address(text: &str) -> Option<u32> {
    let (bytes, mut at, mut address) = (text.as_bytes(), 0, 0);
    let digit = |at: usize| bytes.get(at).map(|b| u32::from(b.wrapping_sub(b'0'))).filter(|d| *d < 10);
    for part in 0..4 {
        if part > 0 {
            if *bytes.get(at)? != b'.' {
                return None;
            }
            at += 1;
        }
        let mut number = digit(at)?;
        at += 1;
        for _ in 0..2 {
            if let Some(d) = digit(at) {
                number = number * 10 + d;
                at += 1;
            }
        }
        if number > 255 {
            return None;
        }
        address = address << 8 | number;
    }
    (at == bytes.len()).then_some(address)
}

#[udf]
fn ip_to_province(ip: &str) -> Option<&'static str> {
    let r = RANGES.get()?;
    let a = address(ip)?;
    let block = (a >> r.shift) as usize;
    let (from, to) = (r.blocks[block] as usize, r.blocks[block + 1] as usize);
    let at = from + r.first[from..to].partition_point(|f| *f <= a);
    Some(r.names[r.region[at.checked_sub(1)?] as usize])
}

weir_udf::export!(open = load; ip_to_province);
