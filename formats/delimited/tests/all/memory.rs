//! Memory stays flat over a long file with lines that no memory should hold.

use std::io::{self, Read};

use tidings_delimited::{Item, Layout, Limits, Reader};

const MB: usize = 1_000_000;

/// Stretches of generated text one after the other, counting what was asked for.
struct Generated {
    /// What is repeated, and how many bytes of it.
    stretches: Vec<(&'static [u8], usize)>,
    current: usize,
    done: usize,
    given: usize,
}

impl Read for Generated {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while let Some(&(pattern, bytes)) = self.stretches.get(self.current) {
            if self.done == bytes {
                self.current += 1;
                self.done = 0;
                continue;
            }
            let from = self.done % pattern.len();
            let count = (bytes - self.done).min(pattern.len() - from).min(buffer.len());
            buffer[..count].copy_from_slice(&pattern[from..from + count]);
            self.done += count;
            self.given += count;
            return Ok(count);
        }
        Ok(0)
    }
}

#[test]
fn fifty_megabytes_with_overlong_lines_pass_through_a_small_window() {
    const ROW: &[u8] =
        b"12345,jan@example.com,Jan de Vries,Amsterdam,1980-01-31,active,12.50,nl,NL,2\n";
    let rows = 10 * MB / ROW.len() * ROW.len();
    let mut input = Generated {
        stretches: vec![
            (b"id,mail,name,town,born,state,sum,lang,country,n\n", 48),
            (ROW, rows),
            // A line of 10 MB, one of 5 MB in many cells, one of 5 MB in a quoted cell of many
            // lines, and a quote that swallows the remaining 10 MB.
            (b"x", 10 * MB),
            (b"\n", 1),
            (b"y,", 5 * MB),
            (b"\n", 1),
            (b"\"", 1),
            (b"a quoted line\r\n", 5 * MB / 15 * 15),
            (b"\"\n", 2),
            (ROW, rows),
            (b"\"", 1),
            (ROW, rows),
        ],
        current: 0,
        done: 0,
        given: 0,
    };
    let limits = Limits::default();
    let mut reader = Reader::open(&mut input, &Layout::default(), limits).unwrap();
    let (mut good, mut refused, mut most) = (0, Vec::new(), 0);
    while let Some(item) = reader.read().unwrap() {
        match item {
            Item::Row(_) => good += 1,
            Item::Refused(row) => {
                assert!(row.raw.len() <= limits.kept_bytes);
                refused.push((row.fault.code(), row.position.row, row.position.line));
            }
        }
        most = most.max(reader.memory_bytes());
    }
    let end = reader.position().byte;
    drop(reader);
    let each = (rows / ROW.len()) as u64;
    let after_cells = each + 4 + 5 * MB as u64 / 15 + 1;
    assert_eq!(good, 2 * each);
    assert_eq!(
        refused,
        [
            ("record_too_long", each + 1, each + 2),
            ("record_too_long", each + 2, each + 3),
            ("record_too_long", each + 3, each + 4),
            ("unclosed_quote", 2 * each + 4, after_cells + each),
        ]
    );
    assert_eq!(end, input.given as u64);
    assert!(input.given > 49 * MB, "{}", input.given);
    assert!(most < 3 * limits.record_bytes + MB / 2, "{most} bytes were held");
}
