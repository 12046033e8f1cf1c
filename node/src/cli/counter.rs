//! Where a command is answered: here, if nobody uses the folder; else by the server that does.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use tombolo_relay::Guests;
use tombolo_relay::member::Archive;
use tombolo_store::worker::{ProcessWorker, Worker};
use tombolo_store::{OpenError, Store, StoreConfig, maintain};

use super::merge_process;
use crate::admin::{Answers, Client, Desk, Request, Sink};
use crate::archive::StoreArchive;
use crate::config::Settings;
use crate::error::Error;

/// How long somebody else may have the folder without answering: a server that starts or ends, another command.
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(20);

/// Who has a folder.
pub(super) enum Found {
    /// This process, now.
    Here(Store),
    /// A server that answers.
    There,
}

impl Found {
    /// Opens the store, or finds the server that has it open. Blocking.
    pub(super) fn open(settings: &Settings, worker: &Arc<dyn Worker>) -> Result<Self, Error> {
        let until = Instant::now() + PATIENCE;
        loop {
            // A server that has it is asked at once.
            let config =
                StoreConfig { engine: settings.engine, lock_wait_ms: 0, ..StoreConfig::new(&settings.data) };
            match Store::open(config, Arc::clone(worker)) {
                Ok(store) => return Ok(Self::Here(store)),
                Err(OpenError::Locked { .. }) => {}
                Err(error) => return Err(error.into()),
            }
            match Client::connect(&settings.data) {
                Ok(_) => return Ok(Self::There),
                Err(source) if Instant::now() > until => {
                    return Err(Error::NoAnswer { path: settings.data.clone(), source });
                }
                Err(_) => std::thread::sleep(PAUSE),
            }
        }
    }
}

/// Who answers.
pub(super) enum Counter {
    Here(Desk, Store),
    There(PathBuf),
}

impl Counter {
    /// Opens the store, or finds the server that has it open. Blocking, on a tokio runtime.
    pub(super) fn open(settings: &Settings) -> Result<Self, Error> {
        check_there_is_one(settings)?;
        let worker: Arc<dyn Worker> = ProcessWorker::start(merge_process()?)?;
        match Found::open(settings, &worker)? {
            Found::Here(store) => {
                let archive = Arc::new(StoreArchive::start(store.clone(), &worker)?);
                let guests = Guests::alone(Arc::clone(&archive) as Arc<dyn Archive>);
                Ok(Self::Here(Desk::new(store.clone(), worker, archive, guests), store))
            }
            Found::There => Ok(Self::There(settings.data.clone())),
        }
    }

    pub(super) fn ask(&self, request: &Request, body: &Bytes, sink: &mut Sink<'_>) -> Result<Value, Error> {
        // A sink's own error says more than the failure that it becomes.
        let mut broken = None;
        let mut sink = |event: crate::admin::Event<'_>| {
            sink(event).map_err(|error| {
                let kind = error.kind();
                broken = Some(error);
                kind.into()
            })
        };
        let answer = match self {
            Self::Here(desk, _) => desk.handle(request, body, &mut sink),
            Self::There(folder) => {
                let client = Client::connect(folder)
                    .map_err(|source| Error::NoAnswer { path: folder.clone(), source })?;
                client.ask(request, body, &mut sink)
            }
        };
        match broken {
            Some(error) => Err(Error::Output(error)),
            None => Ok(answer?),
        }
    }

    /// Puts everything away.
    pub(super) fn close(self) -> Result<(), Error> {
        match self {
            Self::Here(_, store) => store.close().map_err(Error::Close),
            Self::There(_) => Ok(()),
        }
    }
}

/// A slip of the pen must not make a new store.
pub(super) fn check_there_is_one(settings: &Settings) -> Result<(), Error> {
    maintain::finish_apply(&settings.data)?;
    let made = ["replica", "lock", "journal", "shelf"].iter().any(|name| settings.data.join(name).exists());
    if made { Ok(()) } else { Err(Error::NoStore { path: settings.data.clone() }) }
}
