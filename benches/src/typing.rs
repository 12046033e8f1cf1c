//! Updates of a Yjs client that types at the end of one text, byte for byte as `yjs` 13.6 encodes them.

/// One client. The same calls give the same bytes.
#[derive(Clone, Debug)]
pub struct Typist {
    client: u32,
    clock: u32,
}

impl Typist {
    /// A client with this number; stock clients draw 32 random bits.
    #[must_use]
    pub fn new(client: u32) -> Self {
        Self { client, clock: 0 }
    }

    /// The update that types this many letters in one go, at least 1. One letter is 16 to 24 bytes.
    pub fn types(&mut self, letters: u16) -> Vec<u8> {
        let mut update = vec![1, 1];
        var_uint(&mut update, self.client);
        var_uint(&mut update, self.clock);
        match self.clock.checked_sub(1) {
            None => update.extend([0x04, 1, 4, b't', b'e', b'x', b't']),
            Some(before) => {
                update.push(0x84);
                var_uint(&mut update, self.client);
                var_uint(&mut update, before);
            }
        }
        let letters = letters.max(1);
        var_uint(&mut update, letters.into());
        update.extend((b'a'..=b'z').cycle().take(letters.into()));
        update.push(0);
        self.clock += u32::from(letters);
        update
    }
}

fn var_uint(out: &mut Vec<u8>, mut value: u32) {
    while value > 0x7f {
        out.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    out.push(value.to_le_bytes()[0]);
}

#[cfg(test)]
mod tests {
    use tombolo_core::update::{Coverage, Update};

    use super::*;

    #[test]
    fn what_it_types_is_valid_and_whole() {
        let mut typist = Typist::new(0xfedc_ba98);
        let mut coverage = Coverage::default();
        for letters in [1, 2, 100, 4096] {
            let update = Update::parse(typist.types(letters).into()).unwrap();
            assert!(coverage.admits(&update) && coverage.add(&update));
        }
        assert_eq!(coverage.state_vector().get(0xfedc_ba98), 1 + 2 + 100 + 4096);
    }
}
