//! The commands that write a row, and their form in outboxes.

/// A command, as its words.
pub(super) type Command = Vec<Vec<u8>>;

/// Appends a row's commands: their number, and for each command the number of its words, and the length and bytes of each word. Numbers are
/// little-endian.
pub(super) fn pack(row: &[Command], out: &mut Vec<u8>) {
    let number = |out: &mut Vec<u8>, n: usize| out.extend_from_slice(&(n as u32).to_le_bytes());
    number(out, row.len());
    for command in row {
        number(out, command.len());
        for word in command {
            number(out, word.len());
            out.extend_from_slice(word);
        }
    }
}

/// Unpacks rows that [`pack`] has packed. It stops early at invalid bytes.
pub(super) fn unpack(mut bytes: &[u8]) -> Vec<Vec<Command>> {
    fn number(from: &mut &[u8]) -> Option<usize> {
        let (n, rest) = from.split_first_chunk::<4>()?;
        *from = rest;
        Some(u32::from_le_bytes(*n) as usize)
    }
    fn word(from: &mut &[u8]) -> Option<Vec<u8>> {
        let n = number(from)?;
        let (word, rest) = from.split_at_checked(n)?;
        *from = rest;
        Some(word.to_vec())
    }
    fn command(from: &mut &[u8]) -> Option<Command> {
        (0..number(from)?).map(|_| word(from)).collect()
    }
    std::iter::from_fn(|| (0..number(&mut bytes)?).map(|_| command(&mut bytes)).collect()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_packed_comes_out_again() {
        let rows: Vec<Vec<Command>> = vec![
            vec![vec![b"DEL".to_vec(), b"a:b".to_vec()]],
            vec![],
            vec![vec![b"HDEL".to_vec(), vec![]], vec![b"HSET".to_vec(), vec![0, 255], b"f".to_vec(), b"v".to_vec()]],
        ];
        let mut packed = vec![];
        rows.iter().for_each(|r| pack(r, &mut packed));
        assert_eq!(unpack(&packed), rows);
        assert_eq!(unpack(&packed[..packed.len() - 1]), rows[..2]);
    }
}
