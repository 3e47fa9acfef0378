//! The province, or the country outside China, that an IPv4 address belongs to.

use std::sync::OnceLock;
use weir_udf::udf;

struct Ranges {
    first: Vec<u32>,
    /// The first ranges of each /16, so that a look-up begins close to its end.
    blocks: Vec<u32>,
    region: Vec<u16>,
    names: Vec<&'static str>,
}

static RANGES: OnceLock<Ranges> = OnceLock::new();

/// Reads the table of ranges: `first,last,region` a line, sorted and without gaps.
fn load() -> Result<(), String> {
    let text = String::from_utf8(weir_udf::asset("regions.csv")?).map_err(|e| e.to_string())?;
    let text: &'static str = text.leak();
    let mut r = Ranges { first: vec![], blocks: vec![], region: vec![], names: vec![] };
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
    for block in 0..=65_536u64 {
        r.blocks.push(r.first.partition_point(|f| u64::from(*f) < block << 16) as u32);
    }
    RANGES.set(r).map_err(|_| "the table is loaded twice".to_string())
}

fn address(text: &str) -> Option<u32> {
    let (mut address, mut part, mut dots, mut digits) = (0u32, 0u32, 0, 0);
    for b in text.bytes() {
        match b {
            b'0'..=b'9' if digits < 3 => {
                part = part * 10 + u32::from(b - b'0');
                digits += 1;
            }
            b'.' if digits > 0 && dots < 3 && part < 256 => {
                address = address << 8 | part;
                (part, digits, dots) = (0, 0, dots + 1);
            }
            _ => return None,
        }
    }
    (dots == 3 && digits > 0 && part < 256).then_some(address << 8 | part)
}

#[udf]
fn ip_to_province(ip: &str) -> Option<&'static str> {
    let r = RANGES.get()?;
    let a = address(ip)?;
    let (from, to) = (r.blocks[(a >> 16) as usize] as usize, r.blocks[(a >> 16) as usize + 1] as usize);
    let at = from + r.first[from..to].partition_point(|f| *f <= a);
    Some(r.names[r.region[at.checked_sub(1)?] as usize])
}

weir_udf::export!(open = load; ip_to_province);
