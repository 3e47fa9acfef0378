//! Who makes which rows, over any number of changes of parallelism. Rows are dealt out in blocks, in turn, to as many lanes as there
//! are subtasks. How far the lanes of each number of lanes got is a layer; a block is done when any layer has it.

use std::collections::BTreeMap;

/// Rows of a block.
pub const BLOCK: u64 = 4096;

/// What begins the keys of positions.
pub const PREFIX: &[u8] = &[0, 1];

/// How far each lane of a layer is: its next block, and the rows that are made of it.
type Layer = Vec<(u64, u64)>;

/// All that was made so far.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Layers(BTreeMap<u32, Layer>);

/// The key of a lane's position.
pub fn key(layer: u32, lane: usize) -> Vec<u8> {
    [PREFIX, &layer.to_be_bytes(), &(lane as u32).to_be_bytes()].concat()
}

/// A lane's position: how many lanes there are, its next block, and the rows made of that.
pub fn position(lanes: u64, next: u64, within: u64) -> Vec<u8> {
    [lanes.to_be_bytes(), next.to_be_bytes(), within.to_be_bytes()].concat()
}

impl Layers {
    /// What the state has; nothing where a key or a value is none of ours.
    pub fn read(state: &[(Vec<u8>, Vec<u8>)]) -> Option<Layers> {
        let mut layers = Layers::default();
        for (k, v) in state {
            let (layer, lane) = k.strip_prefix(PREFIX)?.split_first_chunk::<4>()?;
            let lane = u32::from_be_bytes(*lane.first_chunk::<4>()?) as usize;
            let number = |at: usize| v.get(at..at + 8)?.try_into().ok().map(u64::from_be_bytes);
            let (lanes, next, within) = (number(0)?, number(8)?, number(16)?);
            let layer = layers.0.entry(u32::from_be_bytes(*layer)).or_default();
            if layer.is_empty() {
                // A lane that never got far is not in the state; it begins at its own number.
                *layer = (0..lanes.min(1 << 16)).map(|l| (l, 0)).collect();
            }
            *layer.get_mut(lane)? = (next, within);
        }
        Some(layers)
    }

    /// The rows that are made of a block.
    pub fn made(&self, block: u64) -> u64 {
        let of = |layer: &Layer| {
            let (next, within) = layer[block as usize % layer.len()];
            match block.cmp(&next) {
                std::cmp::Ordering::Less => BLOCK,
                std::cmp::Ordering::Equal => within,
                std::cmp::Ordering::Greater => 0,
            }
        };
        self.0.values().filter(|l| !l.is_empty()).map(of).max().unwrap_or(0)
    }

    /// The layer that so many lanes work on, and where a lane of it is.
    pub fn lane(&self, lanes: usize, lane: usize) -> (u32, u64, u64) {
        match self.0.last_key_value() {
            Some((n, layer)) if layer.len() == lanes => (*n, layer[lane].0, layer[lane].1),
            last => (last.map_or(0, |(n, _)| n + 1), lane as u64, 0),
        }
    }

    /// The keys of layers that say nothing any more: all that they have, the last one has too.
    pub fn obsolete(&self) -> Vec<Vec<u8>> {
        let Some((last, now)) = self.0.last_key_value() else { return vec![] };
        let first = now.iter().map(|(next, _)| *next).min().unwrap_or(0);
        let over = |l: &Layer| l.iter().all(|(next, within)| *next < first || *next == first && *within == 0);
        let layers = self.0.iter().filter(|(n, l)| *n != last && over(l));
        layers.flat_map(|(n, l)| (0..l.len()).map(|lane| key(*n, lane))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn every_block_is_made_once_whatever_the_lanes() {
        // Numbers that look like chance, the same in every run.
        let mut seed = 7_u64;
        let mut draw = move |n: u64| {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (seed >> 33) % n
        };
        for _ in 0..50 {
            let mut state: BTreeMap<Vec<u8>, Vec<u8>> = BTreeMap::new();
            let mut rows: BTreeMap<u64, u64> = BTreeMap::new();
            for _ in 0..30 {
                let entries: Vec<_> = state.clone().into_iter().collect();
                let layers = Layers::read(&entries).expect("what was written");
                for k in layers.obsolete() {
                    state.remove(&k);
                }
                let lanes = 1 + draw(5);
                for lane in 0..lanes as usize {
                    let (layer, mut next, mut within) = layers.lane(lanes as usize, lane);
                    for _ in 0..draw(6) {
                        while within == 0 && layers.made(next) >= BLOCK {
                            next += lanes;
                        }
                        within = within.max(layers.made(next));
                        let part = (1 + draw(BLOCK)).min(BLOCK - within);
                        for row in [within, within + part - 1] {
                            // The first and the last of each piece are enough to see an overlap of pieces.
                            let seen = rows.entry(next * BLOCK + row).or_default();
                            *seen += if part == 1 { 1 } else { 2 };
                            assert!(*seen <= 2, "block {next}, row {row}");
                        }
                        within += part;
                        if within == BLOCK {
                            (next, within) = (next + lanes, 0);
                        }
                        state.insert(key(layer, lane), position(lanes, next, within));
                    }
                }
            }
            assert!(state.len() < 120, "{} keys are kept", state.len());
        }
    }
}
