//! Messages on their way to a cluster, packed one after another. Outboxes have this form.

/// Packed messages. Each consists of flags; the partition and the timestamp (8 bytes, milliseconds), if they are set; the key and the value
/// as length and bytes, with `u32::MAX` for NULL; the number of headers, and the name and value of each. Numbers are little-endian.
#[derive(Debug, Default)]
pub(super) struct PackedMessages {
    bytes: Vec<u8>,
    count: usize,
}

const PARTITION: u8 = 1;
const TIME: u8 = 2;
const HEADERS: u8 = 4;
const NULL: u32 = u32::MAX;

/// A message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct PackedMessage<'a> {
    pub partition: Option<i32>,
    /// Milliseconds since 1970.
    pub time: Option<i64>,
    pub key: Option<&'a [u8]>,
    pub value: Option<&'a [u8]>,
    pub headers: Vec<(&'a [u8], Option<&'a [u8]>)>,
}

fn put(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    out.extend_from_slice(&bytes.map_or(NULL, |b| b.len() as u32).to_le_bytes());
    out.extend_from_slice(bytes.unwrap_or_default());
}

fn number<const N: usize>(from: &mut &[u8]) -> Option<[u8; N]> {
    let (n, rest) = from.split_first_chunk::<N>()?;
    *from = rest;
    Some(*n)
}

fn take<'a>(from: &mut &'a [u8]) -> Option<Option<&'a [u8]>> {
    match u32::from_le_bytes(number(from)?) {
        NULL => Some(None),
        n => {
            let (bytes, rest) = from.split_at_checked(n as usize)?;
            *from = rest;
            Some(Some(bytes))
        }
    }
}

impl PackedMessages {
    pub fn push(&mut self, r: &PackedMessage<'_>) {
        let out = &mut self.bytes;
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        out.push(
            flag(r.partition.is_some(), PARTITION)
                | flag(r.time.is_some(), TIME)
                | flag(!r.headers.is_empty(), HEADERS),
        );
        r.partition.iter().for_each(|p| out.extend_from_slice(&p.to_le_bytes()));
        r.time.iter().for_each(|t| out.extend_from_slice(&t.to_le_bytes()));
        put(out, r.key);
        put(out, r.value);
        if !r.headers.is_empty() {
            out.extend_from_slice(&(r.headers.len() as u32).to_le_bytes());
            for (name, value) in &r.headers {
                put(out, Some(name));
                put(out, *value);
            }
        }
        self.count += 1;
    }
    pub fn len(&self) -> usize {
        self.count
    }
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }
    pub fn take(&mut self) -> Vec<u8> {
        self.count = 0;
        std::mem::take(&mut self.bytes)
    }
    pub fn clear(&mut self) {
        self.count = 0;
        self.bytes.clear();
    }
}

/// Unpacks messages one by one. It stops early at invalid bytes.
pub(super) fn unpack(mut bytes: &[u8]) -> impl Iterator<Item = PackedMessage<'_>> {
    std::iter::from_fn(move || {
        let [flags] = number::<1>(&mut bytes)?;
        let partition = if flags & PARTITION != 0 { Some(i32::from_le_bytes(number(&mut bytes)?)) } else { None };
        let time = if flags & TIME != 0 { Some(i64::from_le_bytes(number(&mut bytes)?)) } else { None };
        let (key, value) = (take(&mut bytes)?, take(&mut bytes)?);
        let mut headers = vec![];
        if flags & HEADERS != 0 {
            for _ in 0..u32::from_le_bytes(number(&mut bytes)?) {
                headers.push((take(&mut bytes)?.unwrap_or_default(), take(&mut bytes)?));
            }
        }
        Some(PackedMessage { partition, time, key, value, headers })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out_again() {
        let records = [
            PackedMessage { key: Some(b"k"), value: Some(b""), ..PackedMessage::default() },
            PackedMessage {
                partition: Some(3),
                time: Some(-1),
                headers: vec![(b"h", None), (b"", Some(b"v"))],
                ..PackedMessage::default()
            },
            PackedMessage::default(),
        ];
        let mut packed = PackedMessages::default();
        records.iter().for_each(|r| packed.push(r));
        assert_eq!(packed.len(), 3);
        assert_eq!(unpack(packed.bytes()).collect::<Vec<_>>(), records);
        // A torn end gives what is whole.
        assert_eq!(unpack(&packed.bytes()[..packed.bytes().len() - 1]).count(), 2);
    }
}
