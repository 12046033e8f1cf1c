//! The arguments. Each can be given as a flag, in the environment or in a TOML file, in this order of weight.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Parser, Subcommand};
use clap_complete::Shell;

use super::note_args::Note;
use super::store_args::{Doc, Quarantine, Repair, Top, Whole};
use crate::config::{DATA, Given, LISTEN, LOG};

const AFTER: &str = "Exit codes: 0 success · 1 the system refused · 2 wrong arguments or settings · 3 cannot listen · \
                     4 cannot open the data folder · 5 not everything was put away at the end (nothing acknowledged is lost) · \
                     6 verify found damage · 7 there is no such document or note, or it does not take or give what was asked · \
                     8 a sync waits for somebody's decision";

/// A CRDT document store for local-first collaboration: what a client was told is saved, is saved.
#[derive(Debug, Parser)]
#[command(name = "tombolo", version, after_help = AFTER, propagate_version = true)]
pub(super) struct Args {
    #[command(subcommand)]
    pub(super) command: Command,
}

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Serve documents: the editor page, y-websocket, Hocuspocus and automerge-repo clients, kept on disk
    Serve(Serve),
    /// Look at documents, export, import and delete them, also on a running server
    #[command(subcommand)]
    Doc(Doc),
    /// Notes of your own, offline: write, find, tag, import and export them; a server on the folder shows the same
    #[command(subcommand)]
    Note(Note),
    /// Check everything that is stored; exit code 6 if something is damaged
    Verify(Whole),
    /// Save what is intact of a damaged store into a copy beside it
    Repair(Repair),
    /// Give back the space that deleted and rewritten data take
    Compact(Whole),
    /// Operations that were set aside because they break the merge engine
    #[command(subcommand)]
    Quarantine(Quarantine),
    /// Watch the rooms of a running server: members, traffic, what waits; q ends it. Without a terminal, or with --json,
    /// one look of a second
    Top(Top),
    /// The far end of a merge worker; `serve` starts it itself
    #[command(hide = true)]
    MergeWorker(MergeWorker),
    /// Only forward between Yjs clients: no documents, nothing on disk, replaceable at any instant
    Relay(Relay),
    /// What makes a shell complete these commands, on stdout
    Completions(Completions),
    /// A man page for each command
    Man(Man),
}

#[derive(Debug, ClapArgs)]
pub(super) struct Common {
    /// Where to listen [default: 127.0.0.1:8484]
    #[arg(long, env = "TOMBOLO_LISTEN", value_name = "ADDRESS:PORT")]
    listen: Option<String>,
    /// How much to log to stderr: error, warn, info, debug, trace, or a filter [default: warn]
    #[arg(long, env = "TOMBOLO_LOG", value_name = "FILTER")]
    log: Option<String>,
    /// Listen on an address that other machines reach: everybody who reaches it may read and write everything
    #[arg(long, env = "TOMBOLO_OPEN", value_parser = clap::builder::BoolishValueParser::new())]
    open: bool,
    /// Web pages of this origin may speak to it, too, or with * those of everybody; repeatable [default: its own and,
    /// on loopback, those of this machine]
    #[arg(long, env = "TOMBOLO_ALLOW_ORIGIN", value_name = "URL|*", value_delimiter = ',')]
    allow_origin: Vec<String>,
    /// Stand in for another server, so that its clients need no change: listen on its usual port, too (yjs and
    /// hocuspocus 1234, automerge 3030) or on this one, and speak its dialect at any path; repeatable
    #[arg(
        long,
        env = "TOMBOLO_DROP_IN",
        value_name = "yjs|hocuspocus|automerge[:PORT]",
        value_delimiter = ','
    )]
    drop_in: Vec<String>,
    /// The address of a proxy in front, whose clients would otherwise share the limits of one address; one on this
    /// machine needs no word; repeatable
    #[arg(long, env = "TOMBOLO_PROXY", value_name = "ADDRESS", value_delimiter = ',')]
    proxy: Vec<String>,
    /// A proxy whose word for its clients counts, by the last address in X-Forwarded-For, else in Forwarded, that is not a
    /// trusted proxy's: each client then has the limits of its own address; repeatable [default: nobody's word counts]
    #[arg(long, env = "TOMBOLO_TRUST_PROXY", value_name = "loopback|ADDRESS|NETWORK", value_delimiter = ',')]
    trust_proxy: Vec<String>,
    /// The token that lets peers in at /native, such as an archive on another machine, and that is shown at the relays
    /// of --relay; better given in the variable, which other users of the machine do not see
    #[arg(long, env = "TOMBOLO_PEER_TOKEN", hide_env_values = true, value_name = "TOKEN")]
    peer_token: Option<String>,
    /// Another limit than the usual one, as in room-members=100 or connection-messages=100/1000; README.md lists all;
    /// repeatable
    #[arg(long, env = "TOMBOLO_LIMIT", value_name = "NAME=VALUE", value_delimiter = ',')]
    limit: Vec<String>,
    /// Clients must show this token; one that is random, and that others on this machine do not see, as in the variable
    /// or in the file [default: everybody may]
    #[arg(long, env = "TOMBOLO_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,
    /// Clients that show this one may read and not write; besides --token [default: none]
    #[arg(long, env = "TOMBOLO_READ_ONLY_TOKEN", value_name = "TOKEN", hide_env_values = true)]
    read_only_token: Option<String>,
    /// A TOML file with any of: listen, open, allow-origin, drop-in, proxy, trust-proxy, limits, token, read-only-token, peer-token,
    /// data, log, ack, admin, backplane, relay
    #[arg(long, env = "TOMBOLO_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Serve {
    #[command(flatten)]
    common: Common,
    /// The folder that keeps the documents; made if missing. With sled: or redb: before it, the engine of a new one;
    /// without, whatever is there, and sled if it is new [default: tombolo-data]
    #[arg(long, env = "TOMBOLO_DATA", value_name = "[sled:|redb:]DIR")]
    data: Option<PathBuf>,
    /// Keep the documents of the clients of this relay, too, and of all relays that it is joined with, and acknowledge
    /// for them; with several, whichever of them can be reached
    #[arg(long, env = "TOMBOLO_RELAY", value_name = "ws://HOST:PORT", value_delimiter = ',')]
    relay: Vec<String>,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Relay {
    #[command(flatten)]
    common: Common,
    /// When to tell clients "saved": never, or as soon as it was forwarded (nobody keeps it) [default: never]
    #[arg(long, env = "TOMBOLO_ACK", value_name = "never|forwarded")]
    ack: Option<String>,
    /// A folder for the socket through which `tombolo top --data DIR` watches this relay; made if missing, and nobody
    /// but its user can ask there [default: none]
    #[arg(long, env = "TOMBOLO_ADMIN", value_name = "DIR")]
    admin: Option<PathBuf>,
    /// Join all relays that are given the same NATS server, or servers of one cluster; tls:// with TLS; behind the address
    /// may stand a prefix for all subjects; repeatable
    #[arg(
        long,
        env = "TOMBOLO_BACKPLANE",
        hide_env_values = true,
        value_name = "nats://[USER:PASSWORD@]HOST[:PORT][/PREFIX]",
        value_delimiter = ','
    )]
    backplane: Vec<String>,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Completions {
    /// Of which shell
    pub(super) shell: Shell,
}

#[derive(Debug, ClapArgs)]
pub(super) struct Man {
    /// The folder for the pages, such as ~/.local/share/man/man1; made if missing
    #[arg(value_name = "DIR")]
    pub(super) folder: PathBuf,
}

#[derive(Debug, ClapArgs)]
pub(super) struct MergeWorker {
    /// Most bytes of address space
    #[arg(long)]
    pub(super) memory_bytes: u64,
}

impl Args {
    pub(super) fn given(&self) -> Given {
        // The help names these by hand, because a flag's default would hide the file's word.
        debug_assert_eq!((LISTEN, DATA, LOG), ("127.0.0.1:8484", "tombolo-data", "warn"));
        let (common, own) = match &self.command {
            Command::Serve(serve) => {
                let (data, relay) = (serve.data.clone(), serve.relay.clone());
                (&serve.common, Given { data, relay, ..Given::default() })
            }
            Command::Relay(relay) => {
                let (ack, admin) = (relay.ack.clone(), relay.admin.clone());
                let backplane = relay.backplane.clone();
                (&relay.common, Given { ack, admin, backplane, ..Given::default() })
            }
            Command::Doc(doc) => return doc.at().given(),
            Command::Note(note) => return note.at().given(),
            Command::Verify(whole) | Command::Compact(whole) => return whole.at.given(),
            Command::Top(top) => return top.at.given(),
            Command::Repair(repair) => return repair.at.given(),
            Command::Quarantine(quarantine) => return quarantine.at().given(),
            Command::MergeWorker(_) | Command::Completions(_) | Command::Man(_) => return Given::default(),
        };
        Given {
            listen: common.listen.clone(),
            log: common.log.clone(),
            open: common.open,
            allow_origin: common.allow_origin.clone(),
            drop_in: common.drop_in.clone(),
            proxy: common.proxy.clone(),
            trust_proxy: common.trust_proxy.clone(),
            peer_token: common.peer_token.clone(),
            limit: common.limit.clone(),
            token: common.token.clone(),
            read_only_token: common.read_only_token.clone(),
            config: common.config.clone(),
            ..own
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_arguments_hold_together() {
        super::Args::command().debug_assert();
    }
}
