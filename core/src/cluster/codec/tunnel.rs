//! Frames of tunnels.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use bytes::Bytes;

use super::error::InvalidEnvelope;
use super::kind;
use crate::cluster::output::{TunnelFrame, TunnelId};
use crate::dialect::payload::keep;
use crate::limits::TEXT_BYTES_MAX;
use crate::wire::lib0::{Reader, write_var_bytes, write_var_u64};

/// Appends a frame, its kind first.
pub fn write(out: &mut Vec<u8>, frame: &TunnelFrame) {
    let (kind, tunnel) = match frame {
        TunnelFrame::Open { tunnel, .. } => (kind::TUNNEL_OPEN, tunnel),
        TunnelFrame::Data { tunnel, .. } => (kind::TUNNEL_DATA, tunnel),
        TunnelFrame::Close { tunnel, .. } => (kind::TUNNEL_CLOSE, tunnel),
    };
    out.push(kind);
    write_var_u64(out, tunnel.0);
    match frame {
        TunnelFrame::Open { path, host, client, .. } => {
            write_var_bytes(out, path.as_bytes());
            write_var_bytes(out, host.as_bytes());
            match client {
                None => {}
                Some(IpAddr::V4(client)) => out.extend_from_slice(&client.octets()),
                Some(IpAddr::V6(client)) => out.extend_from_slice(&client.octets()),
            }
        }
        TunnelFrame::Data { payload, .. } => out.extend_from_slice(payload),
        TunnelFrame::Close { code, reason, .. } => {
            write_var_u64(out, (*code).into());
            out.extend_from_slice(reason.as_bytes());
        }
    }
}

/// Reads what is left of a body as a frame of this kind; none if it is no kind of frame.
pub(super) fn read(
    kind: u8,
    letter: &Bytes,
    mut reader: Reader<'_>,
) -> Result<Option<TunnelFrame>, InvalidEnvelope> {
    if !(kind::TUNNEL_OPEN..=kind::TUNNEL_CLOSE).contains(&kind) {
        return Ok(None);
    }
    let tunnel = TunnelId(reader.var_u64()?);
    Ok(Some(match kind {
        kind::TUNNEL_OPEN => TunnelFrame::Open {
            tunnel,
            path: text(reader.var_bytes()?)?,
            host: text(reader.var_bytes()?)?,
            client: address(reader.rest())?,
        },
        kind::TUNNEL_DATA => TunnelFrame::Data { tunnel, payload: keep(letter, reader.rest()) },
        _ => {
            let code = reader.var_u64()?;
            let code = u16::try_from(code)
                .map_err(|_| InvalidEnvelope::Code { what: "a close code", found: code })?;
            TunnelFrame::Close { tunnel, code, reason: text(reader.rest())? }
        }
    }))
}

fn text(bytes: &[u8]) -> Result<String, InvalidEnvelope> {
    if bytes.len() > TEXT_BYTES_MAX {
        return Err(InvalidEnvelope::TooLarge);
    }
    let text = std::str::from_utf8(bytes).map_err(|_| crate::wire::lib0::Lib0Error::NotUtf8)?;
    Ok(text.to_owned())
}

fn address(bytes: &[u8]) -> Result<Option<IpAddr>, InvalidEnvelope> {
    if bytes.is_empty() {
        return Ok(None);
    }
    if let Ok(v4) = <[u8; 4]>::try_from(bytes) {
        return Ok(Some(Ipv4Addr::from(v4).into()));
    }
    match <[u8; 16]>::try_from(bytes) {
        Ok(v6) => Ok(Some(Ipv6Addr::from(v6).into())),
        Err(_) => Err(InvalidEnvelope::Code { what: "the length of an address", found: bytes.len() as u64 }),
    }
}
