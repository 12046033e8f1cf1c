// automerge-repo messages made by hand: one CBOR map per binary frame.

import * as Automerge from '@automerge/automerge';
import { cbor } from '@automerge/automerge-repo';

import { rawSocket } from './raw.mjs';
import { until } from './wait.mjs';

/** Opens a bare connection to /automerge that has not said anything. */
export async function openAutomerge(t, at, peerId) {
  return new AutomergeConnection(await rawSocket(t, at, '/automerge'), peerId);
}

/** Opens a bare connection and introduces it. */
export async function joinAutomerge(t, at, peerId) {
  const connection = await openAutomerge(t, at, peerId);
  connection.join();
  await until(() => connection.received('peer').length > 0);
  return connection;
}

/** A sync message that has nothing and asks for everything. */
export function emptySyncMessage() {
  const [, message] = Automerge.generateSyncMessage(Automerge.init(), Automerge.initSyncState());
  return message;
}

class AutomergeConnection {
  constructor(socket, peerId) {
    this.socket = socket;
    this.peerId = peerId;
  }

  /** The messages of one type that came so far. */
  received(type) {
    return this.socket.frames.map((frame) => cbor.decode(frame)).filter((message) => message.type === type);
  }

  send(message) {
    this.socket.send(cbor.encode({ senderId: this.peerId, ...message }));
  }

  join(versions = ['1']) {
    this.send({ type: 'join', peerMetadata: { isEphemeral: true }, supportedProtocolVersions: versions });
  }

  request(documentId, data = emptySyncMessage()) {
    this.send({ type: 'request', targetId: this.serverId, documentId, data });
  }

  get serverId() {
    return this.received('peer')[0].senderId;
  }
}
