//! As much of RFC 6455 as the load and the yardstick need: binary messages in one frame each.

const FIN_BINARY: u8 = 0x82;
const FIN_CLOSE: u8 = 0x88;
const MASKED: u8 = 0x80;

/// Where the payload of the frame at the start of some bytes lies.
#[derive(Clone, Copy, Debug)]
pub struct Head {
    /// Whether it ends the connection.
    pub closes: bool,
    /// Whether the payload is behind a mask.
    pub masked: bool,
    /// Length of the header, with the mask.
    pub len: usize,
    /// Length of the payload.
    pub payload_len: usize,
}

impl Head {
    /// Reads a header; none if it is not there whole.
    #[must_use]
    pub fn read(bytes: &[u8]) -> Option<Self> {
        let (&[first, second], rest) = bytes.split_first_chunk()?;
        let (extra, payload_len) = match second & !MASKED {
            126 => (2, u16::from_be_bytes(*rest.first_chunk()?).into()),
            127 => (8, usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?),
            short => (0, short.into()),
        };
        let masked = second & MASKED != 0;
        let len = 2 + extra + if masked { 4 } else { 0 };
        (bytes.len() >= len).then_some(Self { closes: first == FIN_CLOSE, masked, len, payload_len })
    }
}

/// Appends a client's frame; the payload is short and already masked, by zeros.
pub fn client(out: &mut Vec<u8>, payload: &[u8]) {
    head(out, payload.len(), MASKED);
    out.extend_from_slice(&[0; 4]);
    out.extend_from_slice(payload);
}

/// Appends a server's frame for the payload of a client's frame, which is all of `frame` behind its header.
pub fn forwarded(out: &mut Vec<u8>, head_in: Head, frame: &[u8]) {
    head(out, head_in.payload_len, 0);
    let payload = &frame[head_in.len..];
    if !head_in.masked {
        out.extend_from_slice(payload);
        return;
    }
    let mask = &frame[head_in.len - 4..head_in.len];
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
}

fn head(out: &mut Vec<u8>, payload_len: usize, flag: u8) {
    out.push(FIN_BINARY);
    match (u8::try_from(payload_len), u16::try_from(payload_len)) {
        (Ok(len @ 0..126), _) => out.push(len | flag),
        (_, Ok(len)) => {
            out.push(126 | flag);
            out.extend_from_slice(&len.to_be_bytes());
        }
        _ => {
            out.push(127 | flag);
            out.extend_from_slice(&(payload_len as u64).to_be_bytes());
        }
    }
}
